"""What is asked of judges, and what is made of their answers."""
