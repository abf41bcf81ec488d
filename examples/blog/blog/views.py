"""The pages: a list of posts, a post with its comments, and the health of the whole."""

from django.core.paginator import Paginator
from django.db import DatabaseError, connection
from django.db.models import Count, Q
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .forms import CommentForm
from .models import Post

POSTS_PER_PAGE = 5


@require_safe
def post_list(request):
    posts = (
        Post.objects.published()
        .annotate(comment_count=Count("comments", filter=Q(comments__visible=True)))
        .order_by(*Post._meta.ordering)  # Django drops a model's ordering when it groups.
    )
    page = Paginator(posts, POSTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "blog/post_list.html", {"page": page})


def post_detail(request, slug):
    post = get_object_or_404(Post.objects.published(), slug=slug)
    form = CommentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.post = post
        comment = form.save()
        return redirect(f"{post.get_absolute_url()}#comment-{comment.pk}")
    comments = post.comments.filter(visible=True)
    return render(request, "blog/post_detail.html", {"post": post, "comments": comments, "form": form})


@never_cache
@require_safe
def health(request):
    """Says whether the database answers: 200 if it does, 503 if not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": connection.vendor}, status=503)
    return JsonResponse({"status": "ok", "database": connection.vendor})
