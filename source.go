package mayfly

import "embed"

// NounFiles holds the files whose struct fields are a manifest's keys. Their
// comments are the descriptions in the manifest's JSON Schema, so that code and
// schema cannot say different things.
//
//go:embed function.go manifest.go
var NounFiles embed.FS
