"""What stands in for an exchange: an executor that fills on paper, and a demo on recorded prices."""
