package dead

import (
	"context"
	"encoding/json"
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

// Config of Letters. Dead, Revive and Sender are needed.
type Config struct {
	Dead      *event.Dead
	Revive    map[string]Revive // by the kind of source: queue, function, topic, stream
	Sender    trigger.Sender    // to targets of another kind than the source
	Authorize mayfly.Authorizer // for the API; nil: administrators only
}

// Letters are the dead letters of all apps.
type Letters struct{ cfg Config }

// New makes Letters.
func New(cfg Config) *Letters { return &Letters{cfg} }

// Redrive brings dead letters back, each durably before it is removed, and
// returns how many. It stops at the first that cannot be.
func (l *Letters) Redrive(ctx context.Context, filter event.DeadFilter, to string) (n int, err error) {
	err = l.cfg.Dead.Each(ctx, filter, func(letter *event.DeadLetter) error {
		if err := l.Revive(ctx, letter, to); err != nil {
			return err
		}
		n++
		return nil
	})
	return n, err
}

// Revive brings one dead letter back and removes it.
func (l *Letters) Revive(ctx context.Context, letter *event.DeadLetter, to string) error {
	kind, _, _ := strings.Cut(letter.Source, "/")
	toKind, name, _ := strings.Cut(to, "/")
	revive := l.cfg.Revive[kind]
	var err error
	switch {
	case to != "" && toKind != kind:
		err = l.cfg.Sender.SendTo(ctx, letter.App, to, content(letter))
	case revive == nil:
		err = mayfly.Errorf(mayfly.Invalid, "redrive", "dead letters of %s cannot be redriven", letter.Source)
	default:
		err = revive(ctx, letter, name)
	}
	if err != nil {
		return err
	}
	return l.cfg.Dead.Remove(ctx, letter.ID)
}

// content is what a dead letter's item held, for a target of another kind. The
// letter's id deduplicates a redrive that is repeated after a crash.
func content(letter *event.DeadLetter) *mayfly.Message {
	var held struct {
		Body  json.RawMessage `json:"body"`  // of a queue
		Event json.RawMessage `json:"event"` // of all others
	}
	body := letter.Body
	if json.Unmarshal(letter.Body, &held) == nil {
		if body = held.Body; body == nil {
			body = held.Event
		}
	}
	return &mayfly.Message{Body: body, DedupID: "redrive." + letter.ID, Trace: letter.Trace}
}

// Filter chooses dead letters in a request; exported so that huma fills it.
type Filter struct {
	App    mayfly.AppName `path:"app"`
	Source string         `query:"source" doc:"queue/NAME, function/NAME, topic/NAME or stream/NAME; default all"`
	Reason string         `query:"reason" doc:"attempts, expired, hops or rejected"`
	Text   string         `query:"text" doc:"Somewhere in the error or the body"`
}

type listInput struct {
	Filter
	Limit int `query:"limit" default:"100" minimum:"1" maximum:"10000"`
}

type listOutput struct {
	Body struct {
		Letters []*event.DeadLetter `json:"dead_letters"`
	}
}

type purgeInput struct {
	Filter
	Limit int `query:"limit" minimum:"1" doc:"Most of them; default all"`
}

type redriveInput struct {
	Filter
	Limit int          `query:"limit" minimum:"1" doc:"Most of them; default all"`
	Body  *redriveBody // nil: none was sent
}

type redriveBody struct {
	ID string `json:"id,omitempty" doc:"One dead letter; default all that the query chooses"`
	To string `json:"to,omitempty" doc:"Another target: queue/NAME, topic/NAME or function/NAME; default where each came from"`
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
	kind, name, _ := strings.Cut(source, "/")
	switch {
	case source == "":
		kind, name = "queue", "*"
	case kind == "stream":
		kind = "topic"
	}
	return mayfly.Authorize(ctx, l.cfg.Authorize, app, verb, kind, name)
}

// maySend asks for the verb that sends to a target.
func (l *Letters) maySend(ctx context.Context, app mayfly.AppName, to string) error {
	switch kind, _, _ := strings.Cut(to, "/"); kind {
	case "queue":
		return l.may(ctx, app, "send", to)
	case "topic":
		return l.may(ctx, app, "publish", to)
	case "function":
		return l.may(ctx, app, "call", to)
	}
	return nil // refused as no destination
}

func (f *Filter) filter(limit int) event.DeadFilter {
	return event.DeadFilter{App: f.App, Source: f.Source, Reason: f.Reason, Text: f.Text, Limit: limit}
}

func (l *Letters) list(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := l.may(ctx, in.App, "read", in.Source); err != nil {
		return nil, err
	}
	letters, err := l.cfg.Dead.List(ctx, in.filter(in.Limit))
	out := &listOutput{}
	if out.Body.Letters = letters; letters == nil {
		out.Body.Letters = []*event.DeadLetter{}
	}
	return out, err
}

func (l *Letters) find(ctx context.Context, app mayfly.AppName, verb, id string) (*event.DeadLetter, error) {
	letter, err := l.cfg.Dead.Get(ctx, id)
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
	return nil, l.cfg.Dead.Remove(ctx, in.ID)
}

func (l *Letters) purge(ctx context.Context, in *purgeInput) (*countOutput, error) {
	if err := l.may(ctx, in.App, "delete", in.Source); err != nil {
		return nil, err
	}
	out := &countOutput{}
	err := l.cfg.Dead.Each(ctx, in.filter(in.Limit), func(letter *event.DeadLetter) error {
		out.Body.Count++
		return l.cfg.Dead.Remove(ctx, letter.ID)
	})
	return out, err
}

func (l *Letters) redrive(ctx context.Context, in *redriveInput) (out *countOutput, err error) {
	body := redriveBody{}
	if in.Body != nil {
		body = *in.Body
	}
	if err := l.maySend(ctx, in.App, body.To); err != nil {
		return nil, err
	}
	out = &countOutput{}
	if body.ID != "" {
		letter, err := l.find(ctx, in.App, "write", body.ID)
		if err != nil {
			return nil, err
		}
		out.Body.Count = 1
		return out, l.Revive(ctx, letter, body.To)
	}
	if err := l.may(ctx, in.App, "write", in.Source); err != nil {
		return nil, err
	}
	out.Body.Count, err = l.Redrive(ctx, in.filter(in.Limit), body.To)
	return out, err
}
