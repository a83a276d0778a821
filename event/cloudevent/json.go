package cloudevent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// SpecVersion is the version of the specification that is read and written.
const SpecVersion = "1.0"

// An attribute's name is lower-case letters and digits. The specification says
// that it should be at most 20 long, which is not a must.
var namePattern = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

func invalid(format string, args ...any) error {
	return mayfly.Errorf(mayfly.Invalid, "read event", "%s", fmt.Sprintf(format, args...))
}

// Decode reads an event in the JSON format and validates it. It returns an
// Invalid error that names the attribute which is wrong.
func Decode(text []byte) (*mayfly.CloudEvent, error) {
	e, err := decode(text)
	if err != nil {
		return nil, err
	}
	return e, Validate(e)
}

// decode reads without the checks of Validate, so that a receiver may fill
// what a sender left out.
func decode(text []byte) (*mayfly.CloudEvent, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, invalid("it is not an object in JSON: %v", err)
	}
	e := &mayfly.CloudEvent{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := set(e, name, fields[name]); err != nil {
			return nil, err
		}
	}
	if e.Data != nil && e.DataBase64 != "" {
		return nil, invalid("it has both data and data_base64; an event has one of them")
	}
	return e, nil
}

func set(e *mayfly.CloudEvent, name string, value json.RawMessage) error {
	if bytes.Equal(value, []byte("null")) && name != "data" {
		return nil // as if it were not there
	}
	texts := map[string]*string{
		"id": &e.ID, "source": &e.Source, "specversion": &e.SpecVersion, "type": &e.Type, "subject": &e.Subject,
		"datacontenttype": &e.DataContentType, "dataschema": &e.DataSchema, "data_base64": &e.DataBase64,
	}
	switch target := texts[name]; {
	case target != nil:
		if err := json.Unmarshal(value, target); err != nil {
			return invalid("%s is not a text", name)
		}
	case name == "data":
		e.Data = value
	case name == "time":
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return invalid("time is not a text")
		}
		return setTime(e, s)
	default:
		return setExtension(e, name, value)
	}
	return nil
}

func setTime(e *mayfly.CloudEvent, s string) (err error) {
	if e.Time, err = time.Parse(time.RFC3339, s); err != nil {
		return invalid("time %q is not in RFC 3339, as 2026-12-01T08:00:00Z", s)
	}
	return nil
}

func setExtension(e *mayfly.CloudEvent, name string, value json.RawMessage) error {
	if !namePattern.MatchString(name) {
		return invalid("%q cannot be an attribute's name: lower-case letters and digits only", name)
	}
	if len(value) > 0 && (value[0] == '{' || value[0] == '[') {
		return invalid("the extension %s is an object or a list; an attribute is a text, a number or a boolean", name)
	}
	if e.Extensions == nil {
		e.Extensions = map[string]json.RawMessage{}
	}
	e.Extensions[name] = value
	return nil
}

// Validate returns an Invalid error where an event breaks the specification.
func Validate(e *mayfly.CloudEvent) error {
	switch {
	case e.SpecVersion == "":
		return invalid("specversion is missing; it is \"1.0\"")
	case e.SpecVersion != SpecVersion:
		return invalid("specversion is %q; this reads \"1.0\"", e.SpecVersion)
	case e.ID == "":
		return invalid("id is missing")
	case e.Source == "":
		return invalid("source is missing")
	case e.Type == "":
		return invalid("type is missing")
	}
	if _, err := url.Parse(e.Source); err != nil {
		return invalid("source %q is not a URI reference", e.Source)
	}
	if e.DataSchema != "" {
		if u, err := url.Parse(e.DataSchema); err != nil || !u.IsAbs() {
			return invalid("dataschema %q is not an absolute URI", e.DataSchema)
		}
	}
	if e.DataBase64 != "" {
		if _, err := base64.StdEncoding.DecodeString(e.DataBase64); err != nil {
			return invalid("data_base64 is not base64")
		}
	}
	for name, s := range map[string]string{"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject} {
		if !utf8.ValidString(s) {
			return invalid("%s is not UTF-8", name)
		}
	}
	return nil
}

// Encode writes an event in the JSON format, its extensions as fields.
func Encode(e *mayfly.CloudEvent) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil || len(e.Extensions) == 0 {
		return text, err
	}
	extensions, err := json.Marshal(e.Extensions)
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), extensions[1:]...), nil
}
