"""What we are measured against: each file is a program of its own, written plainly with the peer's own means."""
