from untwin.cli import main

main()
