"""All that is done to Celery and kombu: what they are told, what beat sends, and what they get wrong."""
