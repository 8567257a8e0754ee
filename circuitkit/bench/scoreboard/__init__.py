"""The scoreboard: how well each discovery method recovers circuits whose truth is known."""
