"""What several test areas share: `from support.x import y`."""
