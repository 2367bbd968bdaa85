"""The session engine over two stores."""
