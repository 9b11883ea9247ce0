"""A Composer repository of WordPress plugins and themes: catalogue → build → pages and metadata."""
