/** The text in the add bar, and the wish to have the focus there. Other parts of the window put text in it. */
class AddBar {
  text = $state('');
  /** Counts the times that the bar was asked to take the focus. */
  calls = $state(0);

  focus(text?: string) {
    if (text !== undefined) this.text = text;
    this.calls += 1;
  }
}

export const addBar = new AddBar();
