"""The template filter `markdown`."""

from django import template

from blog import markdown as blog_markdown

register = template.Library()


@register.filter
def markdown(text):
    return blog_markdown.render(text)
