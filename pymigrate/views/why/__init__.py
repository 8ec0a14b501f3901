"""Why pages stay, and the cure."""
