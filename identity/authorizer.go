package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Decision is one answer of an Authorizer, as the audit gets it.
type Decision struct {
	Time    time.Time      `json:"time"`
	Who     mayfly.Caller  `json:"who"`
	App     mayfly.AppName `json:"app"`
	Verb    string         `json:"verb"`
	Kind    string         `json:"kind"`
	Name    string         `json:"name"`
	Allowed bool           `json:"allowed"`
	Grant   string         `json:"grant,omitempty"`  // the line that allowed a function
	Reason  string         `json:"reason,omitempty"` // why it was refused
	Detail  string         `json:"detail,omitempty"` // more about what was done, such as a secret's version
}

// Authorizer decides by the allow lines of the deployed apps' functions, and of
// users. It is safe for concurrent use; before the first Apply every function is
// denied.
type Authorizer struct {
	audit func(Decision)
	apps  atomic.Pointer[grants]
	users atomic.Pointer[grants]
}

// User is a person or a tool that may do something with one app's resources.
type User struct {
	App   mayfly.AppName
	Name  string // of Caller
	Allow []string
}

// grants is the state of one Apply.
type grants struct {
	of      map[principal]*policies
	answers sync.Map // question → string, the grant that allows it or ""
	size    atomic.Int64
}

// principal is a function or a user of an app.
type principal struct {
	app  mayfly.AppName
	fn   mayfly.FunctionName
	user string
}

type question struct {
	principal
	verb, kind, name string
}

// maxAnswers bounds the remembered answers: names come from outside.
const maxAnswers = 10_000

// NewAuthorizer makes an Authorizer without grants. audit is told of every
// decision from the caller's goroutine, so it must neither block nor be slow; it
// may be nil.
func NewAuthorizer(audit func(Decision)) *Authorizer {
	if audit == nil {
		audit = func(Decision) {}
	}
	a := &Authorizer{audit: audit}
	a.apps.Store(&grants{})
	a.users.Store(&grants{})
	return a
}

// Check says which allow lines of m are not grants.
func (a *Authorizer) Check(m *mayfly.Manifest) error {
	_, err := compileApp(m)
	return err
}

// Apply replaces all grants by those of apps. Nothing changes on an error.
func (a *Authorizer) Apply(apps []*mayfly.Manifest) error {
	next := &grants{of: map[principal]*policies{}}
	for _, m := range apps {
		compiled, err := compileApp(m)
		if err != nil {
			return fmt.Errorf("grants of app %s: %w", m.App, err)
		}
		maps.Copy(next.of, compiled)
	}
	a.apps.Store(next)
	return nil
}

func compileApp(m *mayfly.Manifest) (map[principal]*policies, error) {
	compiled := map[principal]*policies{}
	var problems []error
	for name, fn := range m.Functions {
		who := principal{app: m.App, fn: name}
		p, err := compile(who, fn.Allow)
		if err != nil {
			problems = append(problems, fmt.Errorf("functions.%s.%w", name, err))
			continue
		}
		compiled[who] = p
	}
	return compiled, errors.Join(problems...)
}

// ApplyUsers replaces what users may do. Nothing changes on an error.
func (a *Authorizer) ApplyUsers(users []User) error {
	next := &grants{of: map[principal]*policies{}}
	for _, u := range users {
		who := principal{app: u.App, user: u.Name}
		p, err := compile(who, u.Allow)
		if err != nil {
			return fmt.Errorf("grants of user %s of app %s: %w", u.Name, u.App, err)
		}
		next.of[who] = p
	}
	a.users.Store(next)
	return nil
}

// Authorize returns nil where who may do verb to the resource kind/name of app.
// It returns Unauthorized for a caller without credential, and Denied, with the
// line that would allow it, for a function that was not granted it.
func (a *Authorizer) Authorize(_ context.Context, who mayfly.Caller, app mayfly.AppName, verb, kind, name string) error {
	grant, err := a.decide(who, app, verb, kind, name)
	d := Decision{Time: time.Now(), Who: who, App: app, Verb: verb, Kind: kind, Name: name, Allowed: err == nil, Grant: grant}
	if err != nil {
		d.Reason = mayfly.MessageOf(err)
	}
	a.audit(d)
	return err
}

func (a *Authorizer) decide(who mayfly.Caller, app mayfly.AppName, verb, kind, name string) (grant string, err error) {
	op := verb + " " + kind + "/" + name
	as, all, mend := principal{app: who.App}, a.apps.Load(), ""
	switch who.Kind {
	case mayfly.CallerAdmin, mayfly.CallerPlatform:
		return "", nil
	case mayfly.CallerFunction:
		as.fn, mend = who.Function, fmt.Sprintf("add %q to functions.%s.allow", op, who.Function)
	case mayfly.CallerUser:
		as.user, all, mend = who.Name, a.users.Load(), fmt.Sprintf("it would take %q", op)
	default:
		return "", mayfly.Errorf(mayfly.Unauthorized, op, "this needs a credential: send \"Authorization: Bearer TOKEN\"")
	}
	if who.App != app {
		return "", mayfly.Errorf(mayfly.Denied, op, "%s cannot reach app %s; grants are for one's own app", who, app)
	}
	if grant = all.answer(question{as, verb, kind, name}); grant != "" {
		return grant, nil
	}
	return "", mayfly.Errorf(mayfly.Denied, op, "%s has no grant for this; %s", who, mend)
}

// answer remembers what Cedar said until the next Apply.
func (g *grants) answer(q question) string {
	if known, ok := g.answers.Load(q); ok {
		return known.(string)
	}
	p, ok := g.of[q.principal]
	if !ok {
		return ""
	}
	grant := p.permits(q)
	if g.size.Add(1) <= maxAnswers {
		g.answers.Store(q, grant)
	}
	return grant
}

// Policies is what the functions of an app were granted, as Cedar's text.
func (a *Authorizer) Policies(app mayfly.AppName) string {
	functions := a.apps.Load().of
	var out []byte
	byName := func(x, y principal) int {
		if x.fn < y.fn {
			return -1
		}
		return 1
	}
	for _, key := range slices.SortedFunc(maps.Keys(functions), byName) {
		if key.app == app {
			out = append(out, functions[key].text...)
		}
	}
	return string(out)
}
