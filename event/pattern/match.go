package pattern

import (
	"encoding/json"
	"net/netip"
	"strings"
)

// MatchJSON reports whether an event, an object in JSON, matches.
func (p *Pattern) MatchJSON(event []byte) bool {
	v, err := parse(event)
	return err == nil && p.Match(v)
}

// Match reports whether a decoded event matches. Numbers in it are json.Number.
func (p *Pattern) Match(event any) bool { return p.root.match(event) }

// Event decodes an event for Match.
func Event(text []byte) (any, error) { return parse(text) }

// match takes an object, or a list of which one element is an object that
// matches.
func (n *node) match(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return n.matchObject(v)
	case []any:
		for _, element := range v {
			if n.match(element) {
				return true
			}
		}
		return false
	}
	return n.matchObject(nil) // a field that is not there
}

func (n *node) matchObject(object map[string]any) bool {
	for i := range n.fields {
		f := &n.fields[i]
		v, there := object[f.name]
		if f.sub != nil {
			if !f.sub.match(v) {
				return false
			}
		} else if !matchLeaf(f.any, v, there) {
			return false
		}
	}
	for _, or := range n.ors {
		found := false
		for i := range or {
			if found = or[i].matchObject(object); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// matchLeaf reports whether one check takes the value, or an element of it. An
// object is no leaf, so that it is as if it were not there.
func matchLeaf(checks []check, v any, there bool) bool {
	leaves := appendLeaves(nil, v, there)
	for _, c := range checks {
		if want, ok := c.(exists); ok {
			if bool(want) == (len(leaves) > 0) {
				return true
			}
			continue
		}
		for _, leaf := range leaves {
			if c.matches(leaf) {
				return true
			}
		}
	}
	return false
}

func appendLeaves(leaves []any, v any, there bool) []any {
	switch v := v.(type) {
	case map[string]any:
		return leaves
	case []any:
		for _, element := range v {
			leaves = appendLeaves(leaves, element, true)
		}
		return leaves
	}
	if there {
		leaves = append(leaves, v)
	}
	return leaves
}

// check is one condition on a value that is neither list nor object.
type check interface{ matches(v any) bool }

type exact struct{ want any }

func (c exact) matches(v any) bool { return v == c.want }

// exists is decided by matchLeaf.
type exists bool

func (c exists) matches(any) bool { return bool(c) }

type affix struct {
	fold, suffix bool
	text         string
}

func (c affix) matches(v any) bool {
	s, ok := v.(string)
	if c.fold {
		s = strings.ToLower(s)
	}
	if c.suffix {
		return ok && strings.HasSuffix(s, c.text)
	}
	return ok && strings.HasPrefix(s, c.text)
}

type fold string

func (c fold) matches(v any) bool {
	s, ok := v.(string)
	return ok && strings.EqualFold(s, string(c))
}

// wildcard is the texts between the stars.
type wildcard []string

func (c wildcard) matches(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	last := len(c) - 1
	if last == 0 {
		return s == c[0]
	}
	if !strings.HasPrefix(s, c[0]) {
		return false
	}
	s = s[len(c[0]):]
	for _, part := range c[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, c[last])
}

type bound struct {
	op string
	n  float64
}

type numeric []bound

func (c numeric) matches(v any) bool {
	num, ok := v.(json.Number)
	if !ok {
		return false
	}
	f, err := num.Float64()
	if err != nil {
		return false
	}
	for _, b := range c {
		switch b.op {
		case "=":
			ok = f == b.n
		case "<":
			ok = f < b.n
		case "<=":
			ok = f <= b.n
		case ">":
			ok = f > b.n
		case ">=":
			ok = f >= b.n
		}
		if !ok {
			return false
		}
	}
	return true
}

// but is anything but what one of its checks takes.
type but []check

func (c but) matches(v any) bool {
	for _, no := range c {
		if no.matches(v) {
			return false
		}
	}
	return true
}

type cidr struct{ block netip.Prefix }

func (c cidr) matches(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	addr, err := netip.ParseAddr(s)
	return err == nil && c.block.Contains(addr.Unmap())
}
