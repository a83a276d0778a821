// Package contract is what a topic's events must look like: a JSON Schema for
// their data, whether a new version of it is compatible with the old, and what
// can be made from it (AsyncAPI, types for handlers).
//
// Compatibility compares schemas and not data, so it knows the constraints that
// it can compare: types, required properties, enums, bounds, lengths, patterns,
// items, nested properties. A change within $ref, anyOf, oneOf, allOf, not or a
// conditional counts as incompatible, since it cannot be compared.
//
//	backward  who knows the new schema can read events of the old one
//	forward   who knows the old schema can read events of the new one
//	full      both
package contract
