package dead

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Revive puts a dead letter's item back: where it came from, or where to says
// if that is not empty.
type Revive func(ctx context.Context, letter *event.DeadLetter, to string) error

// Letters are the dead letters of all apps.
type Letters struct {
	dead      *event.Dead
	revive    map[string]Revive // by the kind of source: queue, function, topic
	authorize trigger.Authorizer
}

// New makes Letters. revive has a function for each kind of source; authorize
// is nil where everybody may.
func New(dead *event.Dead, revive map[string]Revive, authorize trigger.Authorizer) *Letters {
	return &Letters{dead, revive, authorize}
}

// Redrive brings dead letters back, each durably before it is removed, and
// returns how many. It stops at the first that cannot be.
func (l *Letters) Redrive(ctx context.Context, filter event.DeadFilter, to string) (int, error) {
	letters, err := l.dead.List(ctx, filter)
	if err != nil {
		return 0, err
	}
	for i, letter := range letters {
		if err := l.Revive(ctx, letter, to); err != nil {
			return i, err
		}
	}
	return len(letters), nil
}

// Revive brings one dead letter back and removes it.
func (l *Letters) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	kind, _, _ := strings.Cut(letter.Source, "/")
	toKind, name, _ := strings.Cut(to, "/")
	if to != "" && toKind != kind {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "a dead letter of a %s can go to another %s, not to %s", kind, kind, to)
	}
	revive := l.revive[kind]
	if revive == nil {
		return mayfly.Errorf(mayfly.Invalid, "redrive", "dead letters of %s cannot be redriven", letter.Source)
	}
	if err := revive(ctx, letter, name); err != nil {
		return err
	}
	return l.dead.Remove(ctx, letter.ID)
}

// Filter chooses dead letters in a request.
type Filter struct {
	Source string `query:"source" doc:"queue/NAME, function/NAME or topic/NAME; default all"`
	Reason string `query:"reason" doc:"attempts, expired, hops or rejected"`
	Text   string `query:"text" doc:"Somewhere in the error or the body"`
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"10000"`
}

type listInput struct {
	App mayfly.AppName `path:"app"`
	Filter
}

type listOutput struct {
	Body struct {
		Letters []*event.DeadLetter `json:"dead_letters"`
	}
}

type redriveInput struct {
	listInput
	Body struct {
		ID string `json:"id,omitempty" doc:"One dead letter; default all that the query chooses"`
		To string `json:"to,omitempty" doc:"Another queue, as queue/NAME; default where each came from"`
	}
}

type countOutput struct {
	Body struct {
		Count int `json:"count"`
	}
}

// LetterPath names a dead letter; exported so that huma fills it.
type LetterPath struct {
	App mayfly.AppName `path:"app"`
	ID  string         `path:"id"`
}

type letterOutput struct{ Body *event.DeadLetter }

// Register adds the operations on dead letters.
func (l *Letters) Register(api huma.API) {
	const base = "/v1/apps/{app}/dead-letters"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Events"}}
	}
	huma.Register(api, op("list-dead-letters", http.MethodGet, "", "List what was given up, and why"), l.list)
	huma.Register(api, op("get-dead-letter", http.MethodGet, "/{id}", "Show a dead letter"), l.get)
	huma.Register(api, op("delete-dead-letter", http.MethodDelete, "/{id}", "Drop a dead letter"), l.remove)
	huma.Register(api, op("purge-dead-letters", http.MethodDelete, "", "Drop dead letters"), l.purge)
	huma.Register(api, op("redrive-dead-letters", http.MethodPost, "/redrive", "Try dead letters again"), l.redrive)
}

// may asks for a verb on what a source names.
func (l *Letters) may(ctx context.Context, app mayfly.AppName, verb, source string) error {
	if l.authorize == nil {
		return nil
	}
	kind, name, _ := strings.Cut(source, "/")
	if source == "" {
		kind, name = "queue", "*"
	}
	return l.authorize.Authorize(ctx, mayfly.CallerFrom(ctx), app, verb, kind, name)
}

func (in *listInput) filter() event.DeadFilter {
	return event.DeadFilter{App: in.App, Source: in.Source, Reason: in.Reason, Text: in.Text, Limit: in.Limit}
}

func (l *Letters) list(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := l.may(ctx, in.App, "read", in.Source); err != nil {
		return nil, err
	}
	letters, err := l.dead.List(ctx, in.filter())
	out := &listOutput{}
	if out.Body.Letters = letters; letters == nil {
		out.Body.Letters = []*event.DeadLetter{}
	}
	return out, err
}

func (l *Letters) find(ctx context.Context, app mayfly.AppName, verb, id string) (*event.DeadLetter, error) {
	letter, err := l.dead.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if letter.App != app {
		return nil, mayfly.Errorf(mayfly.NotFound, "read dead letter", "there is no dead letter %s", id)
	}
	return letter, l.may(ctx, app, verb, letter.Source)
}

func (l *Letters) get(ctx context.Context, in *LetterPath) (*letterOutput, error) {
	letter, err := l.find(ctx, in.App, "read", in.ID)
	return &letterOutput{letter}, err
}

func (l *Letters) remove(ctx context.Context, in *LetterPath) (*struct{}, error) {
	if _, err := l.find(ctx, in.App, "delete", in.ID); err != nil {
		return nil, err
	}
	return nil, l.dead.Remove(ctx, in.ID)
}

func (l *Letters) purge(ctx context.Context, in *listInput) (*countOutput, error) {
	if err := l.may(ctx, in.App, "delete", in.Source); err != nil {
		return nil, err
	}
	letters, err := l.dead.List(ctx, in.filter())
	out := &countOutput{}
	for _, letter := range letters {
		if err := l.dead.Remove(ctx, letter.ID); err != nil {
			return out, err
		}
		out.Body.Count++
	}
	return out, err
}

func (l *Letters) redrive(ctx context.Context, in *redriveInput) (out *countOutput, err error) {
	out = &countOutput{}
	if in.Body.ID != "" {
		letter, err := l.find(ctx, in.App, "write", in.Body.ID)
		if err != nil {
			return nil, err
		}
		out.Body.Count = 1
		return out, l.Revive(ctx, letter, in.Body.To)
	}
	if err := l.may(ctx, in.App, "write", in.Source); err != nil {
		return nil, err
	}
	out.Body.Count, err = l.Redrive(ctx, in.filter(), in.Body.To)
	return out, err
}
