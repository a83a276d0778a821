package mayfly

import "context"

// CallerKind says what sort of principal a caller is.
type CallerKind string

const (
	CallerAdmin     CallerKind = "admin"     // holds the admin token
	CallerUser      CallerKind = "user"      // an authenticated person
	CallerFunction  CallerKind = "function"  // code in a sandbox, known by its listener
	CallerAnonymous CallerKind = "anonymous" // a request from outside without credential
	CallerPlatform  CallerKind = "platform"  // the daemon itself, such as a schedule
)

// Caller is who asks for something. A function's caller is derived from the
// listener its connection came through, so that a function holds no credential.
type Caller struct {
	Kind     CallerKind   `json:"kind"`
	Name     string       `json:"name,omitempty"` // of a user
	App      AppName      `json:"app,omitempty"`
	Function FunctionName `json:"function,omitempty"`
	Version  int          `json:"version,omitempty"`
	PID      int          `json:"-"` // of a function: its instance's first process on this machine, by its listener; 0 unknown
}

func (c Caller) String() string {
	switch {
	case c.Kind == CallerFunction:
		return "function " + string(c.App) + "/" + string(c.Function)
	case c.Name != "":
		return string(c.Kind) + " " + c.Name
	}
	return string(c.Kind)
}

// Authorizer decides who may do what. The app is "" for what spans apps.
type Authorizer interface {
	Authorize(ctx context.Context, who Caller, app AppName, verb, kind, name string) error
}

// Authorize asks a whether the caller in ctx may do what it asks for. Where
// nobody decides, a is nil: administrators and the platform may do all, others
// get a Denied error.
func Authorize(ctx context.Context, a Authorizer, app AppName, verb, kind, name string) error {
	who := CallerFrom(ctx)
	if a != nil {
		return a.Authorize(ctx, who, app, verb, kind, name)
	}
	if who.Kind == CallerAdmin || who.Kind == CallerPlatform {
		return nil
	}
	return Errorf(Denied, verb+" "+name, "%s may not", who)
}

type callerKey struct{}

// WithCaller returns a context that carries who asks.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom is who asks in ctx; anonymous when nothing was said.
func CallerFrom(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Kind: CallerAnonymous}
}
