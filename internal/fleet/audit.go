package fleet

// AuditVersion is the schema_version of every audit event, that of docs/audit.schema.json. It rises if a field is removed, is renamed
// or gets another meaning. It doesn't rise for new events, reasons and fields.
const AuditVersion = 1
