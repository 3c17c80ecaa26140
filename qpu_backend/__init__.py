"""The multi-tenant service that owns QPUs and shares them between tenants. Read docs/explanation/architecture.md first."""
