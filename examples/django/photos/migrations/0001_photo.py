"""The first table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Photos."""

    initial = True
    operations = [  # noqa: RUF012 -- as Django writes it
        migrations.CreateModel(
            name="Photo",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("file", models.FileField(upload_to="")),
                ("digest", models.CharField(blank=True, db_default="", max_length=64)),
                ("at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]
