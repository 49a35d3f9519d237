"""From raw video and sound to features in AVE's layout."""
