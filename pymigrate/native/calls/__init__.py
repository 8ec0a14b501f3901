"""What system calls of real programs are answered with, by their kinds."""
