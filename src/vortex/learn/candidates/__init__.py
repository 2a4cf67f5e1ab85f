"""Candidates: run folders in quarantine, their gates, a person's approval, promotion and the way back."""
