"""The multi-tenant service that owns QPUs and shares them. Read docs/explanation/architecture.md first."""
