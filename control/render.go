package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
)

var signs = map[Action]string{Add: "+", Change: "~", Remove: "-"}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Empty() {
		fmt.Fprintf(&b, "app %s: no changes\n", p.App)
	} else {
		p.write(&b, "%d to add, %d to change, %d to remove")
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s\n", w)
	}
	return b.String()
}

// Done is the plan for people as what was done: of what differs between two
// deployments.
func (p *Plan) Done() string {
	if p.Empty() {
		return fmt.Sprintf("app %s: nothing differs\n", p.App)
	}
	var b strings.Builder
	p.write(&b, "%d added, %d changed, %d removed")
	return b.String()
}

// String is what a deploy did, for people.
func (r *Result) String() string {
	var b strings.Builder
	switch {
	case r.Plan == nil:
	case !r.Changed:
		b.WriteString(r.Plan.String())
	default:
		r.Plan.write(&b, "%d to add, %d to change, %d to remove")
		fmt.Fprintf(&b, "\n%s is live%s\n", r.Plan.App, r.versions())
	}
	for _, w := range r.Warnings {
		if r.Changed {
			fmt.Fprintf(&b, "\nwarning: %s\n", w)
		}
	}
	return b.String()
}

func (r *Result) versions() string {
	var all, shared []string
	for _, fn := range slices.Sorted(maps.Keys(r.Deployment.Versions)) {
		n, alias := r.Deployment.Versions[fn], r.Aliases[fn]
		switch {
		case alias.Canary == n:
			shared = append(shared, fmt.Sprintf("  %s version %d gets %d%% of the calls, version %d the others; all: mayfly promote %s", fn, n, alias.Weight, alias.Version, fn))
		case alias.Version != n:
			shared = append(shared, fmt.Sprintf("  %s version %d is held back, calls go to version %d; all: mayfly promote %s", fn, n, alias.Version, fn))
		default:
			all = append(all, fmt.Sprintf("%s version %d", fn, n))
		}
	}
	text := strings.Join(shared, "\n")
	if text != "" {
		text = "\n" + text
	}
	if len(all) > 0 {
		text = ": " + strings.Join(all, ", ") + text
	}
	return text
}

// write writes all of a plan; sum is how it says what is added, changed and removed.
func (p *Plan) write(b *strings.Builder, sum string) {
	fmt.Fprintf(b, "app %s", p.App)
	if p.New {
		b.WriteString(" (new)")
	}
	b.WriteString("\n\n")
	for _, f := range p.Functions {
		fmt.Fprintf(b, "%s function %s%s\n", signs[f.Action], f.Function, f.about())
		for _, t := range f.Triggers {
			fmt.Fprintf(b, "    %s %s %s\n", signs[t.Action], t.Kind, t.On)
			writeFields(b, "        ", t.Fields)
			t.writeNext(b)
		}
		writeFields(b, "    ", f.Fields)
		if f.Bundle != nil && f.Bundle.Size >= sizeable {
			fmt.Fprintf(b, "    largest: %s\n", artifact.Describe(f.Bundle.Largest))
		}
	}
	for _, r := range p.Resources {
		fmt.Fprintf(b, "%s %s %s", signs[r.Action], r.Kind, r.Name)
		if r.Action == Remove {
			b.WriteString("   (its data stays)")
		}
		b.WriteString("\n")
		writeFields(b, "    ", r.Fields)
		for _, step := range r.Steps {
			fmt.Fprintf(b, "    %s\n", step)
		}
	}
	if len(p.Settings) > 0 {
		b.WriteString("~ app\n")
		writeFields(b, "    ", p.Settings)
	}
	fmt.Fprintf(b, "\n%s\n", p.summary(sum))
}

// writeNext says when a schedule will call, in its own zone.
func (t *TriggerChange) writeNext(b *strings.Builder) {
	if t.Next != nil && len(t.Next) == 0 {
		b.WriteString("        never again\n")
	}
	for i, at := range t.Next {
		lead := "     "
		if i == 0 {
			lead = "next "
		}
		fmt.Fprintf(b, "        %s%s\n", lead, at.Format("Mon 2006-01-02 15:04:05 MST"))
	}
}

// sizeable is the size from which a plan says what makes a bundle large.
const sizeable = 10 * mayfly.MiB

func (f FunctionChange) about() string {
	switch {
	case f.Action == Remove:
		return fmt.Sprintf("   version %d", f.From)
	case f.Action == Add && f.Bundle == nil:
		return fmt.Sprintf("   %s, version %d", f.Runtime, f.To)
	case f.Action == Add:
		return fmt.Sprintf("   %s, %s", f.Runtime, sizeOf(f.Bundle))
	case f.To > 0 && f.To != f.From:
		return fmt.Sprintf("   version %d in place of %d", f.To, f.From)
	case f.Version:
		return fmt.Sprintf("   new version beside %d, %s", f.From, sizeOf(f.Bundle))
	}
	return fmt.Sprintf("   version %d stays", f.From)
}

func sizeOf(b *artifact.Bundle) string {
	files := "files"
	if b.Files == 1 {
		files = "file"
	}
	return fmt.Sprintf("%d %s, %s", b.Files, files, artifact.Human(b.Size))
}

func writeFields(b *strings.Builder, indent string, changes []FieldChange) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		fmt.Fprintf(w, "%s%s\t%s → %s\n", indent, c.Field, orNone(c.Old), orNone(c.New))
	}
	_ = w.Flush() // a strings.Builder takes everything
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (p *Plan) summary(format string) string {
	n := map[Action]int{}
	for _, f := range p.Functions {
		n[f.Action]++
	}
	for _, r := range p.Resources {
		n[r.Action]++
	}
	if len(p.Settings) > 0 {
		n[Change]++
	}
	return fmt.Sprintf(format, n[Add], n[Change], n[Remove])
}
