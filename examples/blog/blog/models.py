"""Posts and the comments under them."""

from django.db import models
from django.urls import reverse
from django.utils import timezone


class PostQuerySet(models.QuerySet):
    def published(self):
        """Returns the posts whose time of publication has come; a draft has none."""
        return self.filter(published__lte=timezone.now())


class Post(models.Model):
    title = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80, unique=True)
    summary = models.CharField(max_length=300, blank=True)
    body = models.TextField(help_text="Markdown")
    published = models.DateTimeField(null=True, blank=True, db_index=True, help_text="Empty for a draft")

    objects = PostQuerySet.as_manager()

    class Meta:
        ordering = ["-published", "-pk"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("blog:post", args=[self.slug])


class Comment(models.Model):
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="comments")
    author = models.CharField("name", max_length=80)
    body = models.TextField("comment", max_length=2000)
    written = models.DateTimeField(default=timezone.now, editable=False)
    visible = models.BooleanField(default=True)

    class Meta:
        ordering = ["written", "pk"]

    def __str__(self):
        return f"{self.author} on {self.post}"
