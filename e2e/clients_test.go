package e2e

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Keys are the administrator's, as mayfly bucket credentials prints them.
func (n *node) s3Keys() (access, secret string) {
	n.t.Helper()
	out, code := n.cli("bucket", "credentials")
	if code != 0 {
		n.t.Fatalf("credentials: %s", out)
	}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch value = strings.Trim(value, `'"`); name {
		case "AWS_ACCESS_KEY_ID":
			access = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		}
	}
	if access == "" || secret == "" {
		n.t.Fatalf("no keys in %s", out)
	}
	return access, secret
}

const photosBucket = "photos.uploads"

func bucketNode(t *testing.T) *node {
	n := start(t, t.TempDir(), "serve")
	if out, code := n.cli("deploy", app(t, map[string]string{"mayfly.yaml": "app: photos\nbuckets: {uploads: {}}\n"})); code != 0 {
		t.Fatalf("deploy: %s", out)
	}
	return n
}

// TestMinioClient drives minio-go, with a multipart upload.
func TestMinioClient(t *testing.T) {
	n := bucketNode(t)
	access, secret := n.s3Keys()
	host, err := url.Parse(n.S3)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.New(host.Host, &minio.Options{Creds: credentials.NewStaticV4(access, secret, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	big := bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	put, err := c.PutObject(ctx, photosBucket, "dir/big", bytes.NewReader(big), int64(len(big)), minio.PutObjectOptions{
		PartSize: 5 << 20, ContentType: "application/x-big", UserMetadata: map[string]string{"Who": "me"}, UserTags: map[string]string{"a": "b"},
	})
	if err != nil || put.Size != int64(len(big)) {
		t.Fatalf("put: %+v, %v", put, err)
	}
	o, err := c.GetObject(ctx, photosBucket, "dir/big", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("got %d bytes: %v", len(got), err)
	}
	info, err := c.StatObject(ctx, photosBucket, "dir/big", minio.StatObjectOptions{})
	if err != nil || info.ContentType != "application/x-big" || info.UserMetadata["Who"] != "me" {
		t.Errorf("stat: %+v, %v", info, err)
	}
	var names []string
	for o := range c.ListObjects(ctx, photosBucket, minio.ListObjectsOptions{Recursive: true}) {
		names = append(names, o.Key)
	}
	if strings.Join(names, " ") != "dir/big" {
		t.Errorf("list: %q", names)
	}
	if err := c.RemoveObject(ctx, photosBucket, "dir/big", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	n.stop()
}

// TestAWSClientForGo drives aws-sdk-go-v2: conditions, ranges, several deletes.
func TestAWSClientForGo(t *testing.T) {
	n := bucketNode(t)
	access, secret := n.s3Keys()
	c := awss3.New(awss3.Options{
		BaseEndpoint: aws.String(n.S3), Region: "us-east-1", UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: access, SecretAccessKey: secret}, nil
		}),
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bucket := aws.String(photosBucket)
	put := &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("a b/ü.txt"), Body: strings.NewReader("hello"), IfNoneMatch: aws.String("*")}
	if _, err := c.PutObject(ctx, put); err != nil {
		t.Fatal(err)
	}
	put.Body = strings.NewReader("again")
	if _, err := c.PutObject(ctx, put); err == nil || !strings.Contains(err.Error(), "PreconditionFailed") {
		t.Errorf("a put of what is there, with If-None-Match: %v", err)
	}
	got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: put.Key, Range: aws.String("bytes=1-3")})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if b, err := io.ReadAll(got.Body); err != nil || string(b) != "ell" {
		t.Errorf("a range: %q, %v", b, err)
	}
	list, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
	if err != nil || len(list.CommonPrefixes) != 1 || aws.ToString(list.CommonPrefixes[0].Prefix) != "a b/" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: put.Key}); err != nil {
		t.Error(err)
	}
	n.stop()
}

// TestS3cmd drives s3cmd, as Debian has it.
func TestS3cmd(t *testing.T) {
	needs(t, "s3cmd")
	n := bucketNode(t)
	access, secret := n.s3Keys()
	host := strings.TrimPrefix(n.S3, "http://")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), "hello")
	write(t, filepath.Join(dir, "cfg"), "[default]\naccess_key = "+access+"\nsecret_key = "+secret+"\nhost_base = "+host+"\nhost_bucket = "+host+"\nuse_https = False\nbucket_location = us-east-1\n")
	run := func(args ...string) string {
		cmd := exec.Command("s3cmd", append([]string{"-c", filepath.Join(dir, "cfg")}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("s3cmd %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	at := "s3://" + photosBucket + "/sub/a.txt"
	run("put", filepath.Join(dir, "a.txt"), at)
	if out := run("ls", "s3://"+photosBucket+"/sub/"); !strings.Contains(out, at) {
		t.Errorf("ls: %s", out)
	}
	run("get", at, filepath.Join(dir, "b.txt"))
	if b, err := os.ReadFile(filepath.Join(dir, "b.txt")); err != nil || string(b) != "hello" {
		t.Errorf("got %q: %v", b, err)
	}
	run("cp", at, at+".copy")
	run("del", at)
	if out := run("ls", "s3://"+photosBucket+"/sub/"); strings.Contains(out, at+"\n") || !strings.Contains(out, at+".copy") {
		t.Errorf("ls after del: %s", out)
	}
	n.stop()
}

// TestClientsInFunctions runs unmodified packages of npm in a function: Amazon's
// SDK, libSQL's client and, where PostgreSQL is installed, Neon's driver and pg.
func TestClientsInFunctions(t *testing.T) {
	needs(t, "node", "npm")
	if testing.Short() {
		t.Skip("installs packages")
	}
	dir := app(t, map[string]string{
		"f/index.mjs":     clientsInFunction,
		"f/package.json":  `{"type": "module"}`,
		"m/001_notes.sql": "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts",
		"@aws-sdk/client-s3@3", "@libsql/client@0.15", "@neondatabase/serverless@1", "ws@8", "pg@8")
	install.Dir = filepath.Join(dir, "f")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the packages here: %v\n%.500s", err, out)
	}
	manifest := `app: clients
functions:
  f:
    runtime: node
    source: ./f
    handler: index.handler
    timeout: 60s
    memory: 512MiB
    allow: [write bucket/files, read bucket/files, list bucket/files, write database/main, write database/pg]
buckets: {files: {}}
databases:
  main: {migrations: ./m}
`
	n := start(t, t.TempDir(), "serve")
	clients := []string{"s3", "libsql"}
	if dsn := postgres(t); dsn != "" {
		write(t, filepath.Join(dir, "dsn"), dsn)
		if out, code := n.cli("secret", "set", "PG", "--app", "clients", "--file", filepath.Join(dir, "dsn")); code != 0 {
			t.Fatalf("secret: %s", out)
		}
		manifest += "  pg: {engine: postgres, dsn: PG}\n"
		clients = append(clients, "neon", "neonPool", "pg")
	} else {
		t.Log("PostgreSQL is not installed: Neon's driver is not tested")
	}
	write(t, filepath.Join(dir, "mayfly.yaml"), manifest)
	_ = os.Remove(filepath.Join(dir, "dsn"))
	if out, code := n.cli("deploy", dir); code != 0 {
		t.Fatalf("deploy: %s", out)
	}
	for _, client := range clients {
		if r := n.direct("clients", "f", `"`+client+`"`); r.status != 200 || r.body != `"ok"` {
			t.Errorf("%s: %d %s", client, r.status, r.body)
		}
	}
	n.stop()
}

const clientsInFunction = `
import assert from "node:assert";

const tests = {
  async s3() {
    const { S3Client, PutObjectCommand, GetObjectCommand, ListObjectsV2Command } = await import("@aws-sdk/client-s3");
    const s3 = new S3Client({ forcePathStyle: true }), Bucket = "files";
    await s3.send(new PutObjectCommand({ Bucket, Key: "a/b c.txt", Body: "hello", ContentType: "text/plain" }));
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: "a/b c.txt" }));
    assert.equal(await got.Body.transformToString(), "hello");
    const list = await s3.send(new ListObjectsV2Command({ Bucket }));
    assert.deepEqual(list.Contents.map((o) => o.Key), ["a/b c.txt"]);
  },
  async libsql() {
    const { createClient } = await import("@libsql/client/web");
    const db = createClient({ url: process.env.MAYFLY_ENDPOINT + process.env.MAYFLY_DATABASE_MAIN, intMode: "number" });
    const tx = await db.transaction("write");
    await tx.execute({ sql: "insert into notes (text) values (?)", args: ["one"] });
    await tx.commit();
    const back = await db.transaction("write");
    await back.execute("insert into notes (text) values ('never')");
    await back.rollback();
    await assert.rejects(db.batch(["insert into notes (text) values ('b')", "insert into notes (text) values (null)"], "write"));
    assert.deepEqual((await db.execute("select text from notes")).rows.map((r) => r.text), ["one"]);
  },
  async neon() {
    const { neon, neonConfig } = await import("@neondatabase/serverless");
    neonConfig.fetchEndpoint = () => process.env.MAYFLY_ENDPOINT + process.env.MAYFLY_DATABASE_PG + "sql";
    const sql = neon("postgresql://user:password@mayfly/pg");
    await sql` + "`create table n (id serial primary key, doc jsonb not null)`" + `;
    await sql` + "`insert into n (doc) values (${{ x: [1] }})`" + `;
    await assert.rejects(sql.transaction([sql` + "`insert into n (doc) values ('2')`, sql`insert into n (doc) values (null)`" + `]));
    assert.deepEqual(await sql` + "`select doc from n`" + `, [{ doc: { x: [1] } }]);
  },
  async neonPool() {
    const { Pool, neonConfig } = await import("@neondatabase/serverless");
    neonConfig.webSocketConstructor = (await import("ws")).default;
    neonConfig.wsProxy = () => process.env.MAYFLY_ENDPOINT.replace("http://", "") + process.env.MAYFLY_DATABASE_PG + "wire";
    neonConfig.useSecureWebSocket = false;
    await transactions(new Pool({ connectionString: "postgresql://user:password@mayfly/pg" }));
  },
  async pg() {
    const pg = (await import("pg")).default;
    if (process.env.DATABASE_URL) await transactions(new pg.Pool({ connectionString: process.env.DATABASE_URL }));
    if (process.env.PGHOST) await transactions(new pg.Pool()); // by its variables
  },
};

async function transactions(pool) {
  const client = await pool.connect();
  await client.query("BEGIN");
  await client.query("INSERT INTO n (doc) VALUES ($1)", [{ kept: true }]);
  await client.query("COMMIT");
  await client.query("BEGIN");
  await client.query("DELETE FROM n");
  await client.query("ROLLBACK");
  const { rows } = await client.query("DELETE FROM n WHERE doc ? 'kept' RETURNING doc");
  assert.deepEqual(rows, [{ doc: { kept: true } }]);
  client.release();
  await pool.end();
}

export const handler = async (name) => {
  await tests[name]();
  return "ok";
};
`
