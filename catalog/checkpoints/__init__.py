"""Weight files of all published formats: read tensor by tensor, written whole or not at all."""
