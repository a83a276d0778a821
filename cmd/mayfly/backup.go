package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/daemon"
)

// passphraseVariable has the passphrase of backups for scripts.
const passphraseVariable = "MAYFLY_BACKUP_PASSPHRASE"

func newBackupCmd(g *globals) *cobra.Command {
	var recipients []string
	var passphrase string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Everything a node keeps, encrypted, in one file", Args: cobra.ExactArgs(1),
		Long: "A backup of the running node: apps with their code, secrets and keys, key-value stores, queues, objects, SQLite databases and usage, as of one moment; writes wait while it is made. Logs, traces and metrics are not in it. It is encrypted with age: for --recipient, or by a passphrase from a prompt, from --passphrase-file or from " + passphraseVariable + ". Read it back with mayfly restore, or with age -d FILE | tar --zstd -t.",
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := backupRecipients(g, recipients, passphrase)
			if err != nil {
				return err
			}
			began := time.Now()
			size, err := backup(cmd.Context(), g, args[0], to)
			if err != nil {
				return err
			}
			return g.print(map[string]any{"file": args[0], "size": size}, func(w io.Writer) {
				fmt.Fprintf(w, "%s, %s, in %s\n", args[0], size.About(), time.Since(began).Round(10*time.Millisecond))
			})
		},
	}
	cmd.Flags().StringArrayVarP(&recipients, "recipient", "r", nil, "age recipient (age1…) who can read it; may be given several times")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "read the passphrase from a file")
	return cmd
}

// backup takes a backup from the node to a file, which is there only when it is
// whole.
func backup(ctx context.Context, g *globals, name string, to []age.Recipient) (size mayfly.Bytes, err error) {
	c, err := g.client()
	if err != nil {
		return 0, err
	}
	if _, err := os.Lstat(name); err == nil {
		return 0, mayfly.Errorf(mayfly.Conflict, "", "%s exists; name another file", name)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".mayfly-backup-")
	if err != nil {
		return 0, unwritten(name, err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	res, err := c.Send(ctx, http.MethodGet, "/v1/backup", "", nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	sealed, err := age.Encrypt(tmp, to...)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(sealed, sent{res.Body}); err != nil {
		return 0, unwritten(name, err)
	}
	if err := errors.Join(sealed.Close(), tmp.Sync()); err != nil {
		return 0, unwritten(name, err)
	}
	info, err := tmp.Stat()
	if err != nil {
		return 0, err
	}
	return mayfly.Bytes(info.Size()), os.Rename(tmp.Name(), name)
}

// sent is what the node sends. Its errors are the node's.
type sent struct{ body io.Reader }

func (s sent) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && err != io.EOF {
		err = mayfly.Errorf(mayfly.Unavailable, "", "the node sent a part of the backup only: %w; try again", err)
	}
	return n, err
}

// unwritten is an error of a backup's file, which is not there then.
func unwritten(name string, err error) error {
	var known *mayfly.Error
	if errors.As(err, &known) {
		return err
	}
	return mayfly.Errorf(mayfly.Unavailable, "", "%s cannot be written: %w; make room there, or name a file elsewhere", name, err)
}

func backupRecipients(g *globals, list []string, file string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, text := range list {
		parsed, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "", "%q is not an age recipient; age-keygen makes a pair: %v", text, err)
		}
		out = append(out, parsed...)
	}
	if len(out) > 0 {
		if file != "" {
			return nil, mayfly.Errorf(mayfly.Invalid, "", "choose --recipient or a passphrase, not both")
		}
		return out, nil
	}
	phrase, err := backupPassphrase(g, file, true)
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(phrase)
	return []age.Recipient{r}, err
}

// backupPassphrase comes from a file, the environment or a prompt, in this
// order; twice from the prompt where it is a new one.
func backupPassphrase(g *globals, file string, fresh bool) (string, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		return checkPassphrase(strings.TrimRight(string(b), "\r\n"), err)
	}
	if phrase := os.Getenv(passphraseVariable); phrase != "" {
		return phrase, nil
	}
	f, ok := g.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		key := "--identity"
		if fresh {
			key = "--recipient"
		}
		return "", mayfly.Errorf(mayfly.Invalid, "", "a backup needs a passphrase: set %s, or give --passphrase-file or %s", passphraseVariable, key)
	}
	phrase, err := readPassphrase(g, f, "passphrase: ")
	if err != nil || !fresh {
		return checkPassphrase(phrase, err)
	}
	again, err := readPassphrase(g, f, "once more: ")
	if err == nil && again != phrase {
		err = mayfly.Errorf(mayfly.Invalid, "", "the two passphrases differ")
	}
	return checkPassphrase(phrase, err)
}

func checkPassphrase(phrase string, err error) (string, error) {
	if err == nil && phrase == "" {
		err = mayfly.Errorf(mayfly.Invalid, "", "the passphrase is empty")
	}
	return phrase, err
}

func readPassphrase(g *globals, f *os.File, prompt string) (string, error) {
	fmt.Fprint(g.err, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(g.err)
	return string(b), err
}

func newRestoreCmd(g *globals) *cobra.Command {
	var data, identity, passphrase string
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make a data folder from a backup", Args: cobra.ExactArgs(1),
		Long: "Make an empty data folder what the node's was when the backup was made. Start a node on it with mayfly serve --data DIR. Secrets, keys and the admin token are the old ones.",
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := backupIdentities(g, identity, passphrase)
			if err != nil {
				return err
			}
			out, err := restore(cmd.Context(), args[0], data, keys)
			if err != nil {
				return err
			}
			return g.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s has the backup of %s: %d apps, %d files, %s\n", data, out.Created.Local().Format("2006-01-02 15:04:05"), len(out.Apps), out.Files, out.Bytes.About())
				fmt.Fprintf(w, "start it with: mayfly serve --data %s\n", data)
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", serveData(), "the data folder to make; missing or empty")
	cmd.Flags().StringVarP(&identity, "identity", "i", "", "file with the age identity (AGE-SECRET-KEY-1…) of a recipient")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "read the passphrase from a file")
	return cmd
}

func restore(ctx context.Context, name, data string, keys []age.Identity) (*daemon.Restored, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := age.Decrypt(f, keys...)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, mayfly.Errorf(mayfly.Denied, "", "%s cannot be read: another passphrase or identity is needed, that which it was made for", name)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "%s is not a backup: %v", name, err)
	}
	return daemon.Restore(ctx, plain, data)
}

func backupIdentities(g *globals, file, passphrase string) ([]age.Identity, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		ids, err := age.ParseIdentities(f)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "", "%s has no age identity: %v", file, err)
		}
		return ids, nil
	}
	phrase, err := backupPassphrase(g, passphrase, false)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(phrase)
	return []age.Identity{id}, err
}
