/** The wish to have the focus in the search of the page that is open. */
class Search {
  calls = $state(0);

  focus() {
    this.calls += 1;
  }
}

export const search = new Search();
