package service

import (
	"context"

	"github.com/mayfly-cloud/mayfly"
)

// Driver provides one kind of data service. Its methods may be called
// concurrently.
type Driver interface {
	// Kind is the kind of resource as grants name it: bucket, kv, database or
	// secret.
	Kind() string

	// Check says what is wrong with the resources that m declares, and with the
	// references to them: Invalid errors, joined.
	Check(m *mayfly.Manifest) error

	// Apply makes the resources of all apps exist. It is called with the complete
	// set after each deploy and at start, is idempotent, and never deletes data.
	Apply(ctx context.Context, apps []*mayfly.Manifest) error

	// Run does the driver's work in the background until ctx ends, and returns
	// when its goroutines are gone.
	Run(ctx context.Context) error
}

// Environment is a Driver that gives variables to an app's functions.
type Environment interface {
	// Environ is what fn of m gets beside its own variables. It holds nothing
	// that grants more than the function's allow lines.
	Environ(m *mayfly.Manifest, fn mayfly.FunctionName) map[string]string
}

// Authorizer decides whether who may do verb to the resource kind/name of app.
// A Denied error says which line would allow it.
type Authorizer interface {
	Authorize(ctx context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error
}

// Verbs of grants, as the drivers ask for them.
const (
	Read   = "read"
	Write  = "write"
	Delete = "delete"
	List   = "list"
)

// Kinds of resources.
const (
	KindBucket   = "bucket"
	KindKV       = "kv"
	KindDatabase = "database"
	KindSecret   = "secret"
)
