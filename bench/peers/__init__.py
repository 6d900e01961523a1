"""Other ways to do the same work, each written as somebody who knows it would."""
