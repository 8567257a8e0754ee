"""What a circuit does and how sure that is, told in the words of its task."""
