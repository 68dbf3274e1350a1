package fleet

// This file names the version of the audit events' schema, for all who write some.

// AuditVersion is the schema_version of every audit event: that of docs/audit.schema.json. It rises when a field that was
// there is dropped, renamed or holds something else; new events, reasons and fields leave it as it is.
const AuditVersion = 1
