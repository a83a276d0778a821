package identity

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/mayfly-cloud/mayfly"
)

// entityTypes maps the kinds that grants name to Cedar's entity types.
var entityTypes = map[string]cedar.EntityType{
	"bucket":   "Bucket",
	"kv":       "KV",
	"queue":    "Queue",
	"topic":    "Topic",
	"database": "Database",
	"secret":   "Secret",
	"function": "Function",
}

// policies is what one principal was granted, compiled. It does not change.
type policies struct {
	set  *cedar.PolicySet
	uid  cedar.EntityUID
	text []byte // the set as Cedar's text, in the order of the grants
}

// compile turns allow lines into policies, named by their line.
func compile(who principal, allow []string) (*policies, error) {
	p := &policies{set: cedar.NewPolicySet(), uid: entityUID("Function", who.app, string(who.fn))}
	if who.user != "" {
		p.uid = entityUID("User", who.app, who.user)
	}
	for i, line := range allow {
		g, err := mayfly.ParseGrant(line)
		if err != nil {
			return nil, fmt.Errorf("allow[%d]: %w", i, err)
		}
		policy := cedar.NewPolicyFromAST((*ast.Policy)(permit(who.app, p.uid, g)))
		p.set.Add(cedar.PolicyID(line), policy)
		p.text = append(append(p.text, policy.MarshalCedar()...), '\n')
	}
	return p, nil
}

// permit is the policy of one grant. A name with "*" matches as Cedar's like.
func permit(app mayfly.AppName, principal cedar.EntityUID, g mayfly.Grant) *ast.Policy {
	p := ast.Permit().PrincipalEq(principal)
	if g.Verb != "*" {
		p = p.ActionEq(cedar.NewEntityUID("Action", cedar.String(g.Verb)))
	}
	if !strings.Contains(g.Name, "*") {
		return p.ResourceEq(entityUID(entityTypes[g.Kind], app, g.Name))
	}
	return p.ResourceIs(entityTypes[g.Kind]).
		When(ast.Resource().Access("app").Equal(ast.String(app)).
			And(ast.Resource().Access("name").Like(pattern(g.Name))))
}

func pattern(name string) types.Pattern {
	var parts []any
	for i, literal := range strings.Split(name, "*") {
		if i > 0 {
			parts = append(parts, cedar.Wildcard{})
		}
		if literal != "" {
			parts = append(parts, literal)
		}
	}
	return types.NewPattern(parts...)
}

func entityUID(t cedar.EntityType, app mayfly.AppName, name string) cedar.EntityUID {
	return cedar.NewEntityUID(t, cedar.String(string(app)+"/"+name))
}

// permits evaluates the policies for one resource and returns the grant that
// allows the verb, or "".
func (p *policies) permits(q question) string {
	t, known := entityTypes[q.kind]
	if !known {
		return ""
	}
	resource := entityUID(t, q.app, q.name)
	entities := cedar.EntityMap{resource: cedar.Entity{UID: resource, Attributes: cedar.NewRecord(cedar.RecordMap{
		"app":  cedar.String(q.app),
		"name": cedar.String(q.name),
	})}}
	decision, diagnostic := cedar.Authorize(p.set, entities, cedar.Request{
		Principal: p.uid,
		Action:    cedar.NewEntityUID("Action", cedar.String(q.verb)),
		Resource:  resource,
		Context:   cedar.NewRecord(nil),
	})
	if decision != cedar.Allow || len(diagnostic.Reasons) == 0 {
		return ""
	}
	return string(diagnostic.Reasons[0].PolicyID)
}
