"""Language models: loading, chat templates, policies, and how likely they find a text."""
