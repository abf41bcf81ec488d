"""Markdown to HTML, by misaka's C parser."""

import misaka
from django.utils.safestring import mark_safe

EXTENSIONS = ("fenced-code", "tables", "strikethrough", "autolink", "no-intra-emphasis")


def render(text):
    """Returns `text` as HTML; HTML within it is escaped, and links of unusual schemes are dropped."""
    renderer = misaka.SaferHtmlRenderer(sanitization_mode="escape")
    return mark_safe(misaka.Markdown(renderer, extensions=EXTENSIONS)(text))
