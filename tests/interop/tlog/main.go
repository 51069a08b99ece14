// Command verifier checks a log of callgate's with the packages that Go's own checksum database is verified with
// (golang.org/x/mod/sumdb), and with nothing of callgate's.
//
//	verifier root FOLDER                     the size and the root over all records in FOLDER/log
//	verifier checkpoint VKEY NOTE            the size and the root that the key has signed
//	verifier inclusion VKEY PROOF            checks a c2sp.org/tlog-proof; writes the record that it proves
//	verifier consistency VKEY OLD NEW PROOF  checks that NEW continues OLD; PROOF has one hash in Base64 a line
//
// NOTE, PROOF, OLD and NEW are files.  Exit status: 0 when it holds, 1 with a message on stderr when it does not.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const maxLine = 1 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "root":
		return root(args[1])
	case len(args) == 3 && args[0] == "checkpoint":
		return checkpoint(args[1], args[2])
	case len(args) == 3 && args[0] == "inclusion":
		return inclusion(args[1], args[2])
	case len(args) == 5 && args[0] == "consistency":
		return consistency(args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: verifier root|checkpoint|inclusion|consistency ARGUMENTS")
}

// stored is the tree in memory, as package tlog lays it out.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(s)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found[i] = s[index]
	}
	return found, nil
}

func root(folder string) error {
	// In the order of their names, which is that of the records.
	files, err := filepath.Glob(filepath.Join(folder, "log", "*.jsonl"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var tree stored
	var size int64
	for _, name := range files {
		if tree, size, err = appendFile(tree, size, name); err != nil {
			return err
		}
	}
	hash, err := tlog.TreeHash(size, tree)
	if err != nil {
		return err
	}
	fmt.Println(size, hash)
	return nil
}

func appendFile(tree stored, size int64, name string) (stored, int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine+1)
	for lines.Scan() {
		hashes, err := tlog.StoredHashes(size, lines.Bytes(), tree)
		if err != nil {
			return nil, 0, err
		}
		tree, size = append(tree, hashes...), size+1
	}
	return tree, size, lines.Err()
}

func checkpoint(vkey, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	tree, err := opened(vkey, text)
	if err != nil {
		return err
	}
	fmt.Println(tree.N, tree.Hash)
	return nil
}

// opened reads a signed checkpoint: the log's name, the size and the root on a line each (c2sp.org/tlog-checkpoint).
func opened(vkey string, text []byte) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

func inclusion(vkey, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, signed, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof")
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	path, err := hashes(lines[3:])
	if err != nil {
		return err
	}
	tree, err := opened(vkey, signed)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(record)); err != nil {
		return err
	}
	_, err = os.Stdout.Write(record)
	return err
}

func consistency(vkey, oldName, newName, proofName string) error {
	var trees [2]tlog.Tree
	for i, name := range []string{oldName, newName} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if trees[i], err = opened(vkey, text); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(proofName)
	if err != nil {
		return err
	}
	path, err := hashes(strings.Fields(string(text)))
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, trees[1].N, trees[1].Hash, trees[0].N, trees[0].Hash)
}

func hashes(lines []string) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(lines))
	for i, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		found[i] = hash
	}
	return found, nil
}
