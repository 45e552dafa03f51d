"""Single things on the screen: lines, lists, a preview. They show what they are given and tell what was pressed."""
