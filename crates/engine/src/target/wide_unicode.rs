//! Wheels for a Python 2 with wide Unicode: uv parses the tag `cp27mu`, but cannot build a set of tags with it.

use uv_distribution_filename::WheelFilename;
use uv_platform_tags::{AbiTag, CPythonAbiVariants, TagCompatibility, Tags};

/// Returns the compatibility of `wheel` with a Python with wide Unicode. `tags` are those of one with narrow Unicode.
pub(super) fn compatibility(wheel: &WheelFilename, tags: &Tags) -> TagCompatibility {
    let abi_tags: Vec<AbiTag> = wheel.abi_tags().iter().copied().map(toggled).collect();
    tags.compatibility(
        wheel.python_tags().iter(),
        abi_tags.iter(),
        wheel.platform_tags().iter(),
    )
}

/// Returns `cp27m` for `cp27mu`, and vice versa.
fn toggled(tag: AbiTag) -> AbiTag {
    let AbiTag::CPython {
        python_version,
        mut variant,
    } = tag
    else {
        return tag;
    };
    variant.toggle(CPythonAbiVariants::WideUnicode);
    AbiTag::CPython {
        python_version,
        variant,
    }
}
