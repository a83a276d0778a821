package topic

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/contract"
)

// Declared is the topics and outgoing webhooks of manifests as resources.
type Declared struct{ Topics *Driver }

// Kind is the kind of resource as grants name it.
func (Declared) Kind() string { return "topic" }

// Check returns Invalid errors, joined: names, schemas and whether they are
// compatible with the deployed ones, and outgoing webhooks.
func (r Declared) Check(m *mayfly.Manifest) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(m.Topics)) {
		if err := r.checkTopic(m.App, name, m.Topics[name]); err != nil {
			errs = append(errs, mayfly.Errorf(mayfly.Invalid, "topics."+name, "%s", mayfly.MessageOf(err)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Webhooks)) {
		errs = append(errs, checkHook(m, name, m.Webhooks[name]))
	}
	return errors.Join(errs...)
}

func (r Declared) checkTopic(app mayfly.AppName, name string, t *mayfly.Topic) error {
	if len(name) > 200 || !namePattern.MatchString(name) {
		return mayfly.Errorf(mayfly.Invalid, "", "%q cannot name a topic; write parts of letters, digits, - and _ between dots, as order.created", name)
	}
	if t == nil {
		return nil
	}
	if t.Retention != 0 && t.Retention.D() < time.Minute {
		return mayfly.Errorf(mayfly.Invalid, "", "retention is %s; choose at least 1m", t.Retention)
	}
	if !slices.Contains([]string{"", contract.None, contract.Backward, contract.Forward, contract.Full}, t.Compatibility) {
		return mayfly.Errorf(mayfly.Invalid, "", "compatibility is %q; choose none, backward, forward or full", t.Compatibility)
	}
	if t.Schema == "" && len(t.SchemaBody) == 0 {
		return nil
	}
	if len(t.SchemaBody) == 0 {
		return mayfly.Errorf(mayfly.Invalid, "", "the schema %s was not read", t.Schema)
	}
	next, err := contract.Compile(t.SchemaBody)
	if err != nil {
		return err
	}
	live, err := r.Topics.declared(app, name)
	if err != nil || len(live.SchemaBody) == 0 {
		return nil // a new topic, or one without a schema until now
	}
	old, err := contract.Compile(live.SchemaBody)
	if err != nil {
		return nil // what is deployed says nothing
	}
	return contract.Check(old, next, t.Compatibility)
}

// Apply has nothing to make: a topic exists from its first event on.
func (Declared) Apply(context.Context, []*mayfly.Manifest) error { return nil }

// Run waits for the end.
func (Declared) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// SchemaVersion is one schema that a topic had.
type SchemaVersion struct {
	Version int             `json:"version"`
	Since   time.Time       `json:"since"`
	Schema  json.RawMessage `json:"schema"`
}

func schemaKey(app mayfly.AppName, topic string) string {
	return "schemas." + string(app) + "." + topic
}

const schemaVersions = 20 // kept of a topic

// Schemas are the versions of a topic's schema, oldest first.
func (d *Driver) Schemas(ctx context.Context, app mayfly.AppName, topic string) ([]SchemaVersion, error) {
	versions, _, err := d.schemas(ctx, app, topic)
	return versions, err
}

func (d *Driver) schemas(ctx context.Context, app mayfly.AppName, topic string) (versions []SchemaVersion, rev uint64, err error) {
	value, rev, err := d.cfg.Records.Get(ctx, schemaKey(app, topic))
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return versions, rev, json.Unmarshal(value, &versions)
}

// noteSchemas gives each schema that is new a version.
func (d *Driver) noteSchemas(ctx context.Context) error {
	var errs []error
	for _, m := range d.cfg.Apps.Manifests() {
		for name, t := range m.Topics {
			if t != nil && len(t.SchemaBody) > 0 {
				errs = append(errs, d.noteSchema(ctx, m.App, name, t.SchemaBody))
			}
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) noteSchema(ctx context.Context, app mayfly.AppName, topic string, schema json.RawMessage) error {
	versions, rev, err := d.schemas(ctx, app, topic)
	if err != nil {
		return err
	}
	next := SchemaVersion{Version: 1, Since: time.Now().UTC(), Schema: schema}
	if n := len(versions); n > 0 {
		if contract.Equal(versions[n-1].Schema, schema) {
			return nil
		}
		next.Version = versions[n-1].Version + 1
	}
	versions = append(versions, next)
	value, err := json.Marshal(versions[max(0, len(versions)-schemaVersions):])
	if err != nil {
		return err
	}
	_, err = d.cfg.Records.Put(ctx, schemaKey(app, topic), value, rev)
	return err
}

// cutLane takes a lane's name apart: the app, and the subscription's name.
func cutLane(lane string) (app mayfly.AppName, name string, hook bool) {
	a, rest, _ := strings.Cut(lane, "/")
	name, hook = strings.CutPrefix(rest, "webhook:")
	return mayfly.AppName(a), name, hook
}
