"""What learners of pairs and lists share: what they read, how it is checked, and what they minimise."""
