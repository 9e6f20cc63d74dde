// Grafana Alloy's own parser of its configuration.
//
// In: a file. Out: its blocks, one a line, or exit code 1 with what the parser says.
// Left out on purpose: what components make of their arguments; these are part of Alloy, which no module offers by itself.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	file, err := parser.ParseFile(os.Args[1], text)
	if err != nil {
		log.Fatal(err)
	}
	for _, statement := range file.Body {
		if block, ok := statement.(*ast.BlockStmt); ok {
			fmt.Println(strings.Join(block.Name, "."), block.Label)
		}
	}
}
