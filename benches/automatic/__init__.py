"""What automatic choice costs."""
