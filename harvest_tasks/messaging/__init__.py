"""How do tasks get to workers? All that is done to Celery and kombu: settings, beat, transport, pool, wake-ups."""
