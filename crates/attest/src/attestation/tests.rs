//! Verifies published attestations, and attestations of an instance of Sigstore that the tests make.

mod forge;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wheelhouse_types::{PackageName, Sha256};

use super::{
    AttestationError, AttestationPolicy, Identity, InvalidPolicy, InvalidTrustRoot,
    MissingAttestations, NotProvenance, Provenance, TrustRoot,
};
use forge::{EMAIL, FILENAME, Forgery, Instance, Key, PUBLISH, SERVER, TIME, sha256, statement};

const PUBLIC_ROOT: &str = include_str!("tests/fixtures/trusted_root.json");
const STAGING_ROOT: &str = include_str!("tests/fixtures/trusted_root_staging.json");

/// A file with attestations that were published.
struct Published {
    root: &'static str,
    filename: &'static str,
    sha256: &'static str,
    provenance: &'static str,
    identity: &'static str,
}

const PUBLISHED: [Published; 4] = [
    Published {
        root: PUBLIC_ROOT,
        filename: "pypi_attestations-0.0.19.tar.gz",
        sha256: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
        provenance: include_str!("tests/fixtures/pypi_attestations-0.0.19.tar.gz.provenance"),
        identity: "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19 \
                   of https://token.actions.githubusercontent.com",
    },
    Published {
        root: PUBLIC_ROOT,
        filename: "pypi_attestations-0.0.19.tar.gz",
        sha256: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
        provenance: include_str!("tests/fixtures/slsa.provenance"),
        identity: "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19 \
                   of https://token.actions.githubusercontent.com",
    },
    Published {
        root: PUBLIC_ROOT,
        filename: "gitlab_oidc_project-0.0.3.tar.gz",
        sha256: "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8",
        provenance: include_str!("tests/fixtures/gitlab_oidc_project-0.0.3.tar.gz.provenance"),
        identity: "https://gitlab.com/facutuesca/gitlab-oidc-project//.gitlab-ci.yml@refs/heads/main \
                   of https://gitlab.com",
    },
    Published {
        root: STAGING_ROOT,
        filename: "rfc8785-0.1.2-py3-none-any.whl",
        sha256: "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201",
        provenance: include_str!("tests/fixtures/rfc8785-0.1.2-py3-none-any.whl.provenance"),
        identity: "william@yossarian.net of https://github.com/login/oauth",
    },
];

impl Published {
    fn verify(&self, root: &str, provenance: &Value) -> Result<Identity, AttestationError> {
        let root = TrustRoot::parse(root.as_bytes()).unwrap();
        let provenance = Provenance::parse(provenance.to_string().as_bytes()).unwrap();
        let verified = provenance.verify(&root, self.filename, self.sha256.parse().unwrap());
        assert_eq!(verified.len(), 1);
        verified.into_iter().next().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.provenance).unwrap()
    }
}

/// Changes a part of an attestation.
type Edit = fn(&mut Value);

/// The path of the only attestation of a provenance object.
const FIRST: &str = "/attestation_bundles/0/attestations/0";

/// Verifies what `recipe` makes, with `edit` applied to the attestation after everything was signed.
fn verify_edited(
    recipe: &Forgery,
    edit: impl Fn(&mut Value),
) -> Result<Identity, AttestationError> {
    let instance = Instance::new();
    let mut attestation = recipe.attest(&instance);
    edit(&mut attestation);
    verify_at(&instance.trust_root(), &attestation)
}

fn verify_at(root: &Value, attestation: &Value) -> Result<Identity, AttestationError> {
    let root = TrustRoot::parse(root.to_string().as_bytes()).unwrap();
    let provenance = json!({
        "version": 1,
        "attestation_bundles": [{"publisher": {}, "attestations": [attestation]}],
    });
    let provenance = Provenance::parse(provenance.to_string().as_bytes()).unwrap();
    let verified = provenance.verify(&root, FILENAME, sha256());
    verified.into_iter().next().unwrap()
}

fn verify(recipe: &Forgery) -> Result<Identity, AttestationError> {
    verify_edited(recipe, |_| {})
}

/// Flips one bit in the middle of a text in base64.
fn flip(text: &mut Value) {
    let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *text = json!(STANDARD.encode(bytes));
}

#[test]
fn accepts_published_attestations() {
    for published in &PUBLISHED {
        let identity = published.verify(published.root, &published.json());
        assert_eq!(identity.unwrap().to_string(), published.identity);
    }
}

#[test]
fn rejects_published_attestations_of_other_instances() {
    for published in &PUBLISHED {
        let other = if published.root == PUBLIC_ROOT {
            STAGING_ROOT
        } else {
            PUBLIC_ROOT
        };
        let verified = published.verify(other, &published.json());
        assert_eq!(verified.unwrap_err(), AttestationError::UnknownLog);
    }
}

#[test]
fn rejects_every_tampered_part_of_published_attestations() {
    let entry = "/verification_material/transparency_entries/0";
    for published in &PUBLISHED {
        for part in [
            "/verification_material/certificate",
            "/envelope/statement",
            "/envelope/signature",
            &format!("{entry}/canonicalizedBody"),
            &format!("{entry}/logId/keyId"),
            &format!("{entry}/inclusionPromise/signedEntryTimestamp"),
            &format!("{entry}/inclusionProof/rootHash"),
            &format!("{entry}/inclusionProof/hashes/0"),
        ] {
            let mut provenance = published.json();
            flip(provenance.pointer_mut(&format!("{FIRST}{part}")).unwrap());
            let verified = published.verify(published.root, &provenance);
            assert!(verified.is_err(), "{} {part}", published.filename);
        }
        for (part, value) in [
            ("logIndex", json!("1")),
            ("integratedTime", json!("1700000000")),
            ("inclusionProof/logIndex", json!("1")),
            ("inclusionProof/treeSize", json!("7")),
            (
                "inclusionProof/checkpoint/envelope",
                json!("log\n2\nAAAA\n\n\u{2014} log AAAA\n"),
            ),
            ("inclusionProof", Value::Null),
            ("inclusionPromise", Value::Null),
        ] {
            let mut provenance = published.json();
            let part = format!("{FIRST}{entry}/{part}");
            *provenance.pointer_mut(&part).unwrap() = value;
            let verified = published.verify(published.root, &provenance);
            assert!(verified.is_err(), "{} {part}", published.filename);
        }
    }
}

#[test]
fn rejects_published_attestations_of_other_files() {
    let published = &PUBLISHED[3];
    let root = TrustRoot::parse(published.root.as_bytes()).unwrap();
    let provenance = Provenance::parse(published.provenance.as_bytes()).unwrap();
    let sha256: Sha256 = published.sha256.parse().unwrap();
    let other = provenance.verify(&root, published.filename, Sha256::of(b""));
    assert_eq!(other, [Err(AttestationError::OtherDigest)]);
    let other = provenance.verify(&root, "rfc8785-0.1.3-py3-none-any.whl", sha256);
    let name = published.filename.to_owned();
    assert_eq!(other, [Err(AttestationError::OtherName(name))]);
}

#[test]
fn accepts_identities_of_each_publisher() {
    let identity = verify(&Forgery::default()).unwrap();
    assert_eq!(identity.environment.as_deref(), Some("pypi"));
    assert_eq!(
        identity.repository.as_deref(),
        Some("https://github.com/acme/alpha")
    );
    let google = Forgery {
        subjects: vec![(EMAIL, "publisher@acme.example".to_owned())],
        claims: vec![(8, "https://accounts.google.com".to_owned())],
        ..Forgery::default()
    };
    let identity = verify(&google).unwrap();
    assert_eq!(
        identity.to_string(),
        "publisher@acme.example of https://accounts.google.com"
    );
}

#[test]
fn rejects_certificates_that_do_not_count() {
    let other_purpose = Forgery {
        purpose: SERVER,
        ..Forgery::default()
    };
    let [late, early] = [TIME + 3600, TIME - 3600].map(|time| Forgery {
        time,
        ..Forgery::default()
    });
    for recipe in [other_purpose, late, early] {
        let verified = verify(&recipe);
        assert!(
            matches!(verified, Err(AttestationError::CertificateChain(_))),
            "{verified:?}"
        );
    }
    let unrecorded = Forgery {
        certificate_log: Some(Key::new()),
        ..Forgery::default()
    };
    assert_eq!(
        verify(&unrecorded),
        Err(AttestationError::CertificateTimestamp)
    );
    let two = Forgery {
        subjects: vec![(EMAIL, "a@b".to_owned()), (EMAIL, "c@d".to_owned())],
        ..Forgery::default()
    };
    assert!(matches!(verify(&two), Err(AttestationError::NoIdentity(_))));
    let large = verify_edited(&Forgery::default(), |attestation| {
        let bytes = STANDARD.encode(vec![0x30; 40_000]);
        attestation["verification_material"]["certificate"] = json!(bytes);
    });
    assert!(matches!(large, Err(AttestationError::CertificateFormat(_))));
    let no_issuer = Forgery {
        claims: Vec::new(),
        ..Forgery::default()
    };
    assert!(matches!(
        verify(&no_issuer),
        Err(AttestationError::NoIdentity(_))
    ));
}

#[test]
fn rejects_foreign_keys_of_authorities_and_logs() {
    let (instance, other) = (Instance::new(), Instance::new());
    let attestation = Forgery::default().attest(&instance);
    let (trusted, foreign) = (instance.trust_root(), other.trust_root());
    assert!(verify_at(&trusted, &attestation).is_ok());
    for (part, expected) in [
        ("tlogs", AttestationError::UnknownLog),
        ("ctlogs", AttestationError::CertificateTimestamp),
    ] {
        let mut root = trusted.clone();
        root[part] = foreign[part].clone();
        assert_eq!(verify_at(&root, &attestation), Err(expected));
    }
    let mut root = trusted.clone();
    root["certificateAuthorities"] = foreign["certificateAuthorities"].clone();
    let verified = verify_at(&root, &attestation);
    assert!(
        matches!(verified, Err(AttestationError::CertificateChain(_))),
        "{verified:?}"
    );
    // A foreign key under the identifier of the log.
    let mut root = trusted.clone();
    root["tlogs"][0]["publicKey"]["rawBytes"] =
        foreign["tlogs"][0]["publicKey"]["rawBytes"].clone();
    assert_eq!(
        verify_at(&root, &attestation),
        Err(AttestationError::EntryTimestamp)
    );
}

#[test]
fn trusts_keys_only_in_their_period() {
    let instance = Instance::new();
    let attestation = Forgery::default().attest(&instance);
    let ended = json!({"start": "2024-01-01T00:00:00Z", "end": "2024-12-31T00:00:00.000Z"});
    let later = json!({"start": "2025-06-01T00:00:00Z"});
    for period in [ended, later] {
        for (part, expected) in [
            ("/tlogs/0/publicKey/validFor", AttestationError::UnknownLog),
            (
                "/ctlogs/0/publicKey/validFor",
                AttestationError::CertificateTimestamp,
            ),
            (
                "/certificateAuthorities/0/validFor",
                AttestationError::CertificateChain("no authority is valid at that time".to_owned()),
            ),
        ] {
            let mut root = instance.trust_root();
            *root.pointer_mut(part).unwrap() = period.clone();
            assert_eq!(verify_at(&root, &attestation), Err(expected));
        }
    }
}

#[test]
fn rejects_entries_about_something_else() {
    let edits: [(Edit, &str); 5] = [
        (
            |body| body["kind"] = json!("hashedrekord"),
            "something else",
        ),
        (
            |body| body["spec"]["payloadHash"]["value"] = json!("00".repeat(32)),
            "another statement",
        ),
        (
            |body| flip(&mut body["spec"]["signatures"][0]["signature"]),
            "another signature",
        ),
        (
            |body| body["spec"]["signatures"][0]["verifier"] = json!("AAAA"),
            "another certificate",
        ),
        (
            |body| {
                let signature = body["spec"]["signatures"][0].clone();
                body["spec"]["signatures"]
                    .as_array_mut()
                    .unwrap()
                    .push(signature);
            },
            "several signatures",
        ),
    ];
    for (edit_body, what) in edits {
        let recipe = Forgery {
            edit_body,
            ..Forgery::default()
        };
        assert_eq!(verify(&recipe), Err(AttestationError::EntryMismatch(what)));
    }
    let foreign = Forgery {
        signer: Some(Key::new()),
        ..Forgery::default()
    };
    assert_eq!(verify(&foreign), Err(AttestationError::Signature));
    // A valid signature and certificate of another attestation.
    let verified = verify_edited(&Forgery::default(), |attestation| {
        let other = Forgery::default().attest(&Instance::new());
        attestation["envelope"] = other["envelope"].clone();
    });
    assert_eq!(
        verified,
        Err(AttestationError::EntryMismatch("another signature"))
    );
}

#[test]
fn rejects_statements_about_something_else() {
    let digest = sha256().to_string();
    let other = "beta-1.0-py3-none-any.whl";
    let cases = [
        (
            statement(other, &digest, PUBLISH),
            AttestationError::OtherName(other.to_owned()),
        ),
        (
            statement(FILENAME, &"0".repeat(64), PUBLISH),
            AttestationError::OtherDigest,
        ),
        (
            statement(FILENAME, &digest, "https://example.com/x"),
            AttestationError::PredicateType("https://example.com/x".to_owned()),
        ),
        (
            statement(FILENAME, &digest, PUBLISH).replace("Statement/v1", "Statement/v2"),
            AttestationError::Statement,
        ),
        (
            statement(FILENAME, &digest, PUBLISH).replace(
                "\"subject\":[",
                "\"subject\":[{\"name\":\"x\",\"digest\":{}},",
            ),
            AttestationError::Statement,
        ),
        ("{}".to_owned(), AttestationError::Statement),
    ];
    for (statement, expected) in cases {
        let recipe = Forgery {
            statement,
            ..Forgery::default()
        };
        assert_eq!(verify(&recipe), Err(expected));
    }
}

#[test]
fn rejects_other_forms_of_attestations() {
    let malformed = |edit: fn(&mut Value)| {
        let verified = verify_edited(&Forgery::default(), edit);
        assert!(
            matches!(verified, Err(AttestationError::NotAnAttestation(_))),
            "{verified:?}"
        );
    };
    malformed(|attestation| attestation["version"] = json!(2));
    malformed(|attestation| attestation["envelope"]["signature"] = json!("not base64!"));
    malformed(|attestation| {
        attestation["verification_material"]["transparency_entries"] = json!([]);
    });
    malformed(|attestation| *attestation = json!("text"));
    let entry = "/verification_material/transparency_entries/0/kindVersion/version";
    let unsupported = verify_edited(&Forgery::default(), |attestation| {
        *attestation.pointer_mut(entry).unwrap() = json!("0.0.2");
    });
    assert_eq!(
        unsupported,
        Err(AttestationError::UnsupportedEntry("dsse 0.0.2".to_owned()))
    );
    let broken_lines = verify_edited(&Forgery::default(), |attestation| {
        let certificate = &mut attestation["verification_material"]["certificate"];
        let text = certificate.as_str().unwrap().to_owned();
        *certificate = json!(format!("{}\n{}\n", &text[..76], &text[76..]));
    });
    assert!(broken_lines.is_ok());
}

#[test]
fn rejects_what_is_not_a_provenance_object() {
    let parse = |value: &Value| Provenance::parse(value.to_string().as_bytes()).unwrap_err();
    assert!(matches!(parse(&json!([])), NotProvenance::Malformed(_)));
    let object = |version, attestations: usize| {
        let attestations = vec![json!({}); attestations];
        json!({"version": version, "attestation_bundles": [{"attestations": attestations}]})
    };
    assert_eq!(parse(&object(2, 1)), NotProvenance::Version(2));
    assert_eq!(parse(&object(1, 0)), NotProvenance::Number(0));
    assert_eq!(parse(&object(1, 21)), NotProvenance::Number(21));
}

#[test]
fn rejects_what_is_not_a_trust_root() {
    let parse = |value: &Value| TrustRoot::parse(value.to_string().as_bytes()).unwrap_err();
    assert!(matches!(parse(&json!([])), InvalidTrustRoot::Malformed(_)));
    let trusted = Instance::new().trust_root();
    let mut other = trusted.clone();
    other["mediaType"] = json!("application/json");
    assert!(matches!(parse(&other), InvalidTrustRoot::Malformed(_)));
    for (part, what) in [
        ("tlogs", "transparency log"),
        ("ctlogs", "certificate log"),
        ("certificateAuthorities", "certificate authority"),
    ] {
        let mut root = trusted.clone();
        root[part] = json!([]);
        assert_eq!(parse(&root), InvalidTrustRoot::Incomplete(what));
    }
    let mut root = trusted.clone();
    root["tlogs"][0]["publicKey"]["keyDetails"] = json!("PKIX_ML_DSA_65");
    assert_eq!(
        parse(&root),
        InvalidTrustRoot::Incomplete("transparency log")
    );
    let mut root = trusted;
    root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = json!("AAAA");
    assert!(matches!(parse(&root), InvalidTrustRoot::Certificate(..)));
}

fn policy(text: &str) -> AttestationPolicy {
    AttestationPolicy::parse(text.as_bytes()).unwrap()
}

fn package(name: &str) -> PackageName {
    name.parse().unwrap()
}

#[test]
fn policy_accepts_only_named_publishers() {
    let github = verify(&Forgery::default()).unwrap();
    let accepts = |publisher: &str, identity: &Identity| {
        let policy = policy(&format!(
            "[[package]]\nname = \"alpha\"\npublishers = [{{{publisher}}}]\n"
        ));
        policy.rule(&package("alpha")).unwrap().accepts(identity)
    };
    for (publisher, expected) in [
        (r#"kind = "GitHub", repository = "acme/alpha""#, true),
        (
            r#"kind = "GitHub", repository = "Acme/Alpha", workflow = "release.yml""#,
            true,
        ),
        (
            r#"kind = "GitHub", repository = "acme/alpha", environment = "pypi""#,
            true,
        ),
        (r#"kind = "GitHub", repository = "acme/alpha2""#, false),
        (r#"kind = "GitHub", repository = "acme/alph""#, false),
        (
            r#"kind = "GitHub", repository = "acme/alpha", workflow = "test.yml""#,
            false,
        ),
        (
            r#"kind = "GitHub", repository = "acme/alpha", workflow = "lease.yml""#,
            false,
        ),
        (
            r#"kind = "GitHub", repository = "acme/alpha", environment = "test""#,
            false,
        ),
        (r#"kind = "GitLab", repository = "acme/alpha""#, false),
        (r#"kind = "Google", email = "a@b""#, false),
    ] {
        assert_eq!(accepts(publisher, &github), expected, "{publisher}");
    }
    // A workflow of another repository is not that of the repository that it ran for.
    let called = "https://github.com/evil/x/.github/workflows/release.yml@refs/tags/1.0";
    let foreign = verify(&Forgery::default().claim(18, called)).unwrap();
    let named = r#"kind = "GitHub", repository = "acme/alpha", workflow = "release.yml""#;
    assert!(!accepts(named, &foreign));
    let elsewhere = verify(&Forgery::default().claim(8, "https://ghe.example")).unwrap();
    assert!(!accepts(named, &elsewhere));
    let gitlab = PUBLISHED[2]
        .verify(PUBLIC_ROOT, &PUBLISHED[2].json())
        .unwrap();
    let named = r#"kind = "GitLab", repository = "facutuesca/gitlab-oidc-project""#;
    assert!(accepts(named, &gitlab));
    assert!(accepts(
        &format!(r#"{named}, workflow = ".gitlab-ci.yml""#),
        &gitlab
    ));
    assert!(!accepts(
        &format!(r#"{named}, workflow = "ci.yml""#),
        &gitlab
    ));
    // The certificate is older than the extension with the environment.
    assert!(!accepts(
        &format!(r#"{named}, environment = "pypi""#),
        &gitlab
    ));
    let person = PUBLISHED[3]
        .verify(STAGING_ROOT, &PUBLISHED[3].json())
        .unwrap();
    let issuer = "https://github.com/login/oauth";
    let named =
        format!(r#"kind = "Other", issuer = "{issuer}", subject = "william@yossarian.net""#);
    assert!(accepts(&named, &person));
    assert!(!accepts(&named.replace("oauth", "x"), &person));
    assert!(!accepts(
        r#"kind = "Google", email = "william@yossarian.net""#,
        &person
    ));
}

#[test]
fn policy_uses_first_rule_for_package() {
    let policy = policy(
        r#"
        without-attestations = "warn"
        [[package]]
        name = "Acme_Core"
        without-attestations = "fail"
        [[package]]
        name = "acme_*"
        without-attestations = "accept"
        "#,
    );
    for (name, expected) in [
        ("acme-core", MissingAttestations::Fail),
        ("acme-tools", MissingAttestations::Accept),
        ("acme", MissingAttestations::Warn),
    ] {
        assert_eq!(
            policy.without_attestations(&package(name)),
            expected,
            "{name}"
        );
    }
    assert!(policy.rule(&package("other")).is_none());
}

#[test]
fn rejects_what_is_not_a_policy() {
    let parse = |text: &str| AttestationPolicy::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(""), InvalidPolicy::Empty);
    assert_eq!(
        parse("[[package]]\nname = \"*a\""),
        InvalidPolicy::Name("*a".to_owned())
    );
    for text in [
        "x",
        "[[package]]",
        "[[package]]\nname = \"a\"\nother = 1",
        "[[package]]\nname = \"a\"\npublishers = [{kind = \"Unknown\"}]",
        "[[package]]\nname = \"a\"\npublishers = [{kind = \"GitHub\"}]",
        "[[package]]\nname = \"a\"\npublishers = [{kind = \"Google\", email = \"a@b\", repository = \"x\"}]",
        "without-attestations = \"perhaps\"\n[[package]]\nname = \"a\"",
    ] {
        assert!(matches!(parse(text), InvalidPolicy::Malformed(_)), "{text}");
    }
}
