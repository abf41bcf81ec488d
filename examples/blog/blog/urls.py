from django.urls import path

from . import views

app_name = "blog"

urlpatterns = [
    path("", views.post_list, name="posts"),
    path("health/", views.health, name="health"),
    path("<slug:slug>/", views.post_detail, name="post"),
]
