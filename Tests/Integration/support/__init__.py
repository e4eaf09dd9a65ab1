"""Helpers of the integration tests: an app, clients and the process under test."""
