package mayfly_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The dependency law: what each package of this module may import of it. It is
// not changed to fix a build; a package that needs more than its room allows
// stands in the wrong room.
//
// A line names a package, or a folder with "/*" for the drivers in it, and what
// it may import; "contracts" stands for the packages listed first.
var law = map[string]rule{
	".": {why: "the root is the vocabulary: everybody imports it, so it imports nobody"},

	// Contracts: they do not see one another. Where two meet, the consumer
	// declares an interface and daemon joins them.
	"schedule":  {may: ".", why: "decisions are pure, so that the simulator runs the code of production"},
	"engine":    {may: "."},
	"sandbox":   {may: "."},
	"event":     {may: "."},
	"artifact":  {may: "."},
	"service":   {may: "."},
	"trigger":   {may: ". event"},
	"identity":  {may: "."},
	"telemetry": {may: "."},
	"meter":     {may: "."},
	"manifest":  {may: "."},

	// Drivers: their own contract, other contracts if they must, never another
	// driver.
	"schedule/*":      {may: ". schedule"},
	"event/*":         {may: ". event event/*", why: "formats of events; a sample is written in one"},
	"artifact/*":      {may: ". artifact"},
	"sandbox/process": {may: ". sandbox sandbox/process/*", why: "the walls are shared by the drivers, so they know none"},
	"sandbox/*":       {may: ". contracts sandbox/process sandbox/frame sandbox/program sandbox/runtimeapi sandbox/sandboxtest artifact/image"},
	"service/*":       {may: ". contracts"},
	"trigger/*":       {may: ". contracts event/*"},
	"telemetry/*":     {may: ". telemetry"},
	"meter/*":         {may: ". meter"},
	"identity/*":      {may: ". identity"},

	"pool":    {may: ". contracts"},
	"invoke":  {may: ". contracts pool"},
	"control": {may: ". contracts"},
	"gateway": {may: ". invoke identity telemetry", why: "the edge knows calls, not deployments"},

	"api":        {may: ". contracts control invoke pool"},
	"api/client": {may: ".", why: "a client is what any program could be"},
	"web":        {may: ".", why: "the console uses the public API only"},

	"daemon":            {may: "all", why: "all wiring is here"},
	"cmd/mayfly":        {may: ". contracts api api/client daemon control schedule/* event/* cmd/mayfly/*", why: "the CLI uses the public API only; dev and serve start a daemon"},
	"cmd/mayfly/*":      {may: "."},
	"bench":             {may: ". api/client"},
	"e2e":               {may: "all"},
	"examples":          {may: "", why: "examples are what users write"},
	"sandbox/process/*": {may: "", why: "the init starts before the rest of the binary is initialised"},
}

type rule struct{ may, why string }

const module = "github.com/mayfly-cloud/mayfly"

var contracts = strings.Fields("schedule engine sandbox event artifact service trigger identity telemetry meter manifest")

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestDependencyLaw(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		name := relative(p.ImportPath)
		key, r := find(name)
		if key == "" {
			t.Errorf("%s stands in no room of the dependency law; give it one", name)
			continue
		}
		used[key] = true
		for _, imp := range p.Imports {
			if name == "." && strings.Contains(strings.Split(imp, "/")[0], ".") {
				t.Errorf("the root imports %s: %s", imp, r.why)
			}
			if !strings.HasPrefix(imp, module) {
				continue
			}
			if to := relative(imp); !r.allows(name, to) {
				t.Errorf("%s imports %s, which %q does not allow: it may import [%s]. %s", name, to, key, r.may, r.why)
			}
		}
	}
	for key := range law {
		if !used[key] && !strings.HasSuffix(key, "/*") {
			t.Errorf("the law names %s, and there is no such package", key)
		}
	}
}

// TestSchedulePurity keeps time, chance and the machine out of decisions.
func TestSchedulePurity(t *testing.T) {
	for _, p := range packages(t) {
		if relative(p.ImportPath) != "schedule" {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains([]string{"os", "net", "net/http", "math/rand", "log/slog"}, imp) {
				t.Errorf("schedule imports %s: now and seed are arguments", imp)
			}
		}
	}
	files, err := os.ReadDir("schedule")
	if err != nil {
		t.Fatal(err)
	}
	now := regexp.MustCompile(`time\.(Now|Since|Until|Sleep|After)\(`)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile("schedule/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if m := now.Find(b); m != nil {
			t.Errorf("schedule/%s calls %s…)", f.Name(), m)
		}
	}
}

// find is the rule of a package: its own, else that of its folder's drivers.
func find(name string) (string, rule) {
	if r, ok := law[name]; ok {
		return name, r
	}
	for dir := name; ; {
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			break
		}
		dir = dir[:i]
		if r, ok := law[dir+"/*"]; ok {
			return dir + "/*", r
		}
	}
	if strings.HasPrefix(name, "examples/") {
		return "examples", law["examples"]
	}
	return "", rule{}
}

func (r rule) allows(from, to string) bool {
	for _, m := range strings.Fields(r.may) {
		switch {
		case m == "all", m == to:
			return true
		case m == "contracts" && slices.Contains(contracts, to):
			return true
		case strings.HasSuffix(m, "/*") && strings.HasPrefix(to, strings.TrimSuffix(m, "*")):
			return true
		}
	}
	return strings.HasPrefix(to, from+"/internal/")
}

func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
