"""Tests of the blog, over the posts of the fixture `initial`."""

from unittest import mock

from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.db import DatabaseError
from django.test import SimpleTestCase, TestCase
from django.utils import timezone

from .markdown import render
from .models import Comment, Post


class BlogTests(TestCase):
    fixtures = ["initial"]

    def test_list_shows_what_is_published_newest_first(self):
        response = self.client.get("/")
        titles = [post.title for post in response.context["page"]]
        self.assertEqual(titles, ["Where wheels are kept", "A short note on round numbers"])
        self.assertContains(response, "1 comment<")

    def test_list_has_pages(self):
        for number in range(5):
            Post.objects.create(title=f"Post {number}", slug=f"post-{number}", published=timezone.now())
        self.assertContains(self.client.get("/"), 'rel="next"')
        self.assertContains(self.client.get("/?page=2"), "Where wheels are kept")

    def test_post_is_rendered_from_markdown(self):
        response = self.client.get("/where-wheels-are-kept/")
        self.assertContains(response, "<em>wheelhouse</em>")
        self.assertContains(response, "<table>")

    def test_draft_is_not_found(self):
        self.assertEqual(self.client.get("/unfinished/").status_code, 404)

    def test_hidden_comment_is_not_shown(self):
        self.assertNotContains(self.client.get("/where-wheels-are-kept/"), "Buy my wheels!")

    def test_comment_is_kept_and_shown(self):
        response = self.client.post("/round-numbers/", {"author": "Bo", "body": "<b>True</b>"}, follow=True)
        self.assertEqual(Comment.objects.get(author="Bo").post.slug, "round-numbers")
        self.assertContains(response, "&lt;b&gt;True&lt;/b&gt;")

    def test_comment_without_a_name_is_refused(self):
        response = self.client.post("/round-numbers/", {"author": "", "body": "True"})
        self.assertContains(response, "This field is required")
        self.assertFalse(Comment.objects.filter(body="True").exists())

    def test_admin_lists_posts(self):
        self.client.force_login(get_user_model().objects.create_superuser("editor"))
        self.assertContains(self.client.get("/admin/blog/post/"), "An unfinished draft")

    def test_health(self):
        response = self.client.get("/health/")
        self.assertEqual((response.status_code, response.json()["status"]), (200, "ok"))

    def test_health_without_a_database(self):
        with mock.patch("blog.views.connection.cursor", side_effect=DatabaseError):
            self.assertEqual(self.client.get("/health/").status_code, 503)

    def test_static_files_are_found(self):
        self.assertTrue(finders.find("blog/blog.css"))


class MarkdownTests(SimpleTestCase):
    def test_html_is_escaped(self):
        self.assertNotIn("<script", render("<script>alert(1)</script>"))

    def test_script_links_are_dropped(self):
        self.assertNotIn("href", render("[x](javascript:alert(1))"))
